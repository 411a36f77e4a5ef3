"""The published formulas in plain numpy loops, written apart from the methods' torch code."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def dice_loss(probabilities: np.ndarray, masks: np.ndarray) -> float:
    total = 0.0
    classes = probabilities.shape[1]
    for c in range(classes):
        p, t = probabilities[:, c], (masks == c).astype(float)
        total += 1 - (2 * (p * t).sum() + 1e-5) / ((p * p).sum() + (t * t).sum() + 1e-5)
    return total / classes


def cross_entropy(logits: np.ndarray, masks: np.ndarray) -> float:
    probabilities = softmax(logits)
    pixels = [
        -np.log(probabilities[b, masks[b, y, x], y, x])
        for b in range(len(masks))
        for y in range(masks.shape[1])
        for x in range(masks.shape[2])
    ]
    return float(np.mean(pixels))


def risk(logits: np.ndarray, masks: np.ndarray) -> float:
    return 0.2 * cross_entropy(logits, masks) + 0.8 * dice_loss(softmax(logits), masks)
