"""Scores of one prediction against one truth: overlap and surface."""

from harness.metrics.overlap import dice, iou, missed, vertical_cup_disc_ratio
from harness.metrics.structure import score_structure
from harness.metrics.surface import Surfaces, asd, hd95, hd95_max, nsd, surfaces

__all__ = [
    "Surfaces",
    "asd",
    "dice",
    "hd95",
    "hd95_max",
    "iou",
    "missed",
    "nsd",
    "score_structure",
    "surfaces",
    "vertical_cup_disc_ratio",
]
