"""The scores by sample that the board's page recomputes from, quantised and packed, one file a section."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leaderboard.compute.sections import Section
from leaderboard.read.boards import Board

SCALE = 2_000
"""Scores travel as whole multiples of 1/SCALE; what is rounded off a mean of 30 samples is below 0.0001."""
MISSING = 65_535
UNKNOWN = 255
MOST_VALUES = 1_000_000
"""Above this many scores in a section the groups' means travel instead; then there are no live intervals."""


@dataclass(frozen=True)
class Units:
    """What a score belongs to: a test sample, or (in a large section) a whole group.

    codes: uint8 [U], position of the group, UNKNOWN else and for groups too small to publish; patients:
    uint16 [U], or None for whole groups; weights: int [U], samples; members: bool [U, N], whose samples they
    are, None for single ones.
    """

    codes: np.ndarray
    patients: np.ndarray | None
    weights: np.ndarray
    members: np.ndarray | None


def write(path: Path, board: Board, section: Section) -> None:
    """Write the section's scores as a script that hands them to the page."""
    text = json.dumps(pack(board, section), ensure_ascii=True, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Board.scores.receive({text});\n", encoding="utf-8")


def pack(board: Board, section: Section) -> dict[str, object]:
    """Return the section's scores for the page's script `equity.js`."""
    names = [row.method for row in section.ranked]
    count = len(names) * len(board.seeds) * 2 * int(board.rows(section.structure).sum())
    units = _whole_groups(board, section) if count > MOST_VALUES else _samples(board, section)
    metrics = ("dice", "nsd") if units.members is None else ("dice", "nsd", "iou")
    values = np.stack([_values(board, section, name, metrics, units) for name in names])
    return {
        "version": 1,
        "section": section.anchor,
        "methods": names,
        "titles": [row.title for row in section.ranked],
        "seeds": board.seeds,
        "groups": list(section.kept),
        "metrics": list(metrics),
        "scale": SCALE,
        "units": len(units.codes),
        "codes": text(units.codes.astype(np.uint8)),
        "weights": None if units.members is None else units.weights.tolist(),
        "patients": None if units.patients is None else text(units.patients.astype("<u2")),
        "values": text(values),
    }


def _samples(board: Board, section: Section) -> Units:
    _, patients = np.unique(board.tested(section.structure)["patient"].astype(str), return_inverse=True)
    codes = _codes(board, section)
    return Units(codes, patients if patients.max() < MISSING else None, np.ones(len(codes), int), None)


def _whole_groups(board: Board, section: Section) -> Units:
    codes = _codes(board, section)
    there = np.unique(codes)
    members = codes == there[:, None]
    return Units(there, None, members.sum(axis=1), members)


def _codes(board: Board, section: Section) -> np.ndarray:
    index = {group: i for i, group in enumerate(section.kept)}
    return np.array(
        [index.get(group, UNKNOWN) for group in board.tested(section.structure)[section.attribute]], np.uint8
    )


def _values(board: Board, section: Section, name: str, metrics: Sequence[str], units: Units) -> np.ndarray:
    """Return uint16 [seeds, metrics, units]."""
    rows = [board.matrix(name, section.attribute, section.structure, metric) for metric in metrics]
    scores = np.stack([row for row in rows if row is not None], axis=1)
    if units.members is not None:
        scores = scores @ units.members.T / units.weights
    steps = np.where(np.isnan(scores), MISSING, np.rint(scores * SCALE))
    return np.asarray(steps.astype("<u2"))


def text(values: np.ndarray) -> str:
    """Return the bytes of whole numbers, those of equal significance together, compressed, as text."""
    planes = np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize).T
    return base64.b64encode(gzip.compress(planes.tobytes(), 6, mtime=0)).decode("ascii")
