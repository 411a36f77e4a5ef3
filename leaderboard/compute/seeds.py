"""A method seed by seed: what each single trial gave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness import equity
from harness.store import Record
from leaderboard.read.boards import Board, Entry


@dataclass(frozen=True)
class SeedRow:
    """One trial under an attribute: its Dice by group, or what became of it."""

    seed: int
    record: Record | None
    overall: float | None
    es: float | None
    groups: tuple[float | None, ...]


def of_method(board: Board, entry: Entry, attribute: str, structure: str) -> list[SeedRow]:
    """Return a row a planned seed, with the structure's mean Dice of that seed alone."""
    values = board.matrix(entry.name, attribute, structure, "dice")
    by_seed = dict(zip(board.seeds, values if values is not None else [], strict=False))
    groups = board.record.groups[attribute]
    tested = board.tested(structure)
    masks = [(tested[attribute] == group).to_numpy(bool) for group in groups]
    enough = [tested["patient"][mask].nunique() >= equity.MIN_PATIENTS for mask in masks]
    rows = []
    for seed, record in entry.under(attribute).items():
        dice = by_seed.get(seed)
        if dice is None or np.isnan(dice).all():
            rows.append(SeedRow(seed, record, None, None, (None,) * len(groups)))
            continue
        means = [float(dice[mask].mean()) if many else None for mask, many in zip(masks, enough, strict=True)]
        there = np.array([mean for mean in means if mean is not None])
        es = float(equity.es_sum(dice.mean(), there)) if len(there) > 1 else None
        rows.append(SeedRow(seed, record, float(dice.mean()), es, tuple(means)))
    return rows
