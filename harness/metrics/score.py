"""Score predicted label maps against the truth: one row a sample and structure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.errors import HarnessError
from harness.metrics import score_structure, vertical_cup_disc_ratio
from harness.store import SCORES


def score(
    labels: np.ndarray,
    truth: np.ndarray,
    samples: Sequence[str],
    structures: Mapping[str, tuple[int, ...]],
) -> pd.DataFrame:
    """Return the columns of `SCORES`, samples in their order and structures in theirs.

    labels, truth: uint8 [N, H, W], class indices, 0 is background; structures: name to the class
    indices that make it up. The vertical cup-to-disc ratio's error is on the rows of `disc` where the
    protocol has both `cup` and `disc`: |predicted - true|, 1 where just one of the two has a disc.
    Raises HarnessError where shapes or names do not fit.
    """
    _check(labels, truth, samples, structures)
    rows = [
        {"sample": str(sample), **row}
        for sample, predicted, true in zip(samples, labels, truth, strict=True)
        for row in _score_sample(predicted, true, structures)
    ]
    frame = pd.DataFrame(rows, columns=list(SCORES))
    numbers = [name for name in SCORES if name not in ("sample", "structure", "missed")]
    return frame.astype({"sample": str, "structure": str, "missed": bool} | dict.fromkeys(numbers, float))


def _score_sample(
    predicted: np.ndarray, true: np.ndarray, structures: Mapping[str, tuple[int, ...]]
) -> list[dict[str, str | float]]:
    masks = {name: (_mask(predicted, classes), _mask(true, classes)) for name, classes in structures.items()}
    rows = []
    for name, pair in masks.items():
        error = _ratio_error(masks["cup"], pair) if name == "disc" and "cup" in masks else math.nan
        rows.append({"structure": name, **score_structure(*pair), "vcdr_error": error})
    return rows


def _mask(labels: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    mask: np.ndarray = labels == classes[0]
    for index in classes[1:]:
        mask |= labels == index
    return mask


def _ratio_error(cup: tuple[np.ndarray, np.ndarray], disc: tuple[np.ndarray, np.ndarray]) -> float:
    predicted, true = (vertical_cup_disc_ratio(c, d) for c, d in zip(cup, disc, strict=True))
    if math.isnan(predicted) or math.isnan(true):
        return 0.0 if math.isnan(predicted) and math.isnan(true) else 1.0
    return abs(predicted - true)


def _check(
    labels: np.ndarray, truth: np.ndarray, samples: Sequence[str], structures: Mapping[str, tuple[int, ...]]
) -> None:
    if labels.ndim != 3 or labels.shape != truth.shape or len(samples) != len(labels):
        raise HarnessError(
            f"Predictions of shape {labels.shape} do not fit truths of shape {truth.shape} and "
            f"{len(samples)} samples; give class indices [N, H, W] of both, and N samples."
        )
    if len(set(samples)) != len(samples):
        twice = next(sample for sample in samples if list(samples).count(sample) > 1)
        raise HarnessError(f"Sample '{twice}' is there twice; each sample is scored once.")
    for name, classes in structures.items():
        if not classes:
            raise HarnessError(f"Structure '{name}' has no class; give the class indices that make it up.")
