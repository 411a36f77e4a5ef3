"""Whether the order would be another under another definition or metric, or with a seed left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness import equity
from harness.protocol import CHECKPOINTS
from leaderboard.compute import words
from leaderboard.compute.row import Row
from leaderboard.compute.sections import Section
from leaderboard.read.boards import Board


@dataclass(frozen=True)
class Choice:
    """One other choice, the method that would be first under it, and every method's rank, ties shared."""

    name: str
    first: str
    ranks: dict[str, int]


@dataclass(frozen=True)
class Stability:
    """Who is first under each other choice, one choice changed at a time.

    The other rule for the checkpoint is among them where every method was run under it, as a control.
    """

    first: str
    choices: tuple[Choice, ...]

    def ranks(self, method: str) -> list[int]:
        """Return a method's rank under each choice, in their order."""
        return [choice.ranks[method] for choice in self.choices if method in choice.ranks]

    def within(self, row: Row) -> int:
        """Return under how many choices a method's rank is one that its row does not exclude."""
        assert row.rank_low is not None
        assert row.rank_high is not None
        return sum(row.rank_low <= rank <= row.rank_high for rank in self.ranks(row.method))

    @property
    def moved(self) -> tuple[Choice, ...]:
        """The choices under which another method is first."""
        return tuple(choice for choice in self.choices if choice.first != self.first)

    def sentence(self, titles: dict[str, str]) -> str:
        """Say whether the first place holds."""
        total = len(self.choices)
        if all(rank == 1 for choice in self.choices for rank in choice.ranks.values()):
            return f"They are the same under all {total} other choices that were tried."
        if not self.moved:
            return f"The highest score stays with it under all {total} other choices that were tried."
        by_method: dict[str, list[str]] = {}
        for choice in self.moved:
            by_method.setdefault(choice.first, []).append(choice.name)
        whom = "; ".join(
            f"{words.isolated(titles[first])} under {words.listed(names, 12)}"
            for first, names in by_method.items()
        )
        return (
            f"Under {len(self.moved)} of {total} other choices another method has the highest score: {whom}."
        )


def of_section(board: Board, section: Section) -> Stability | None:
    """Return who would be first under other choices; None where fewer than two methods are ranked."""
    names = [row.method for row in section.ranked]
    if len(names) < 2:
        return None
    choices = tuple(
        Choice(name, names[int(np.nanargmax(values))], _ranks(names, values))
        for name, values in _choices(board, section, names)
        if not np.isnan(values).all()  # a distance that no method has
    )
    return Stability(names[0], choices)


def _ranks(names: list[str], values: np.ndarray) -> dict[str, int]:
    return {
        name: 1 + int((values > value).sum())
        for name, value in zip(names, values, strict=True)
        if not np.isnan(value)
    }


def _choices(board: Board, section: Section, names: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each choice with every method's score under it, the higher the better: float [M]."""
    groups = _Groups(board, section)

    def means(metric: str, without: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        found = [groups.means(name, metric, without) for name in names]
        return np.array([overall for overall, _ in found]), np.stack([own for _, own in found])

    for metric, title in (("dice", "Dice"), ("iou", "IoU"), ("nsd", "NSD")):
        overall, own = means(metric)
        if metric != "dice":
            yield f"ES-{title} (sum)", equity.es_sum(overall, own)
        yield f"ES-{title} (std)", equity.es_std(overall, own)
        yield f"worst group's {title}", own.min(axis=1)
    yield "mean Dice", means("dice")[0]
    yield "smallest gap in Dice", -np.ptp(means("dice")[1], axis=1)
    yield "worst group's HD95 (pooled)", -means("hd95")[1].max(axis=1)
    yield "worst group's HD95 (max)", -means("hd95_max")[1].max(axis=1)
    yield "worst group's ASD", -means("asd")[1].max(axis=1)
    yield "without noise's part", _corrected(section, names)
    for rule in CHECKPOINTS.values():
        twins = [_twin(board, section, name, rule) for name in names]
        if all(scores is not None for scores in twins):
            found = [groups.means_of(scores) for scores in twins if scores is not None]
            yield rule, equity.es_sum(np.array([o for o, _ in found]), np.stack([own for _, own in found]))
    finished = [{r.seed for r in board.entries[name].done(section.attribute)} for name in names]
    for seed in sorted(set.intersection(*finished)):
        if all(len(seeds) > 1 for seeds in finished):
            yield f"seed {seed} left out", equity.es_sum(*means("dice", seed))


def _corrected(section: Section, names: list[str]) -> np.ndarray:
    return np.array([section.row(name).number("dice", "es_sum").corrected for name in names])


def _twin(board: Board, section: Section, name: str, control: str) -> np.ndarray | None:
    for entry in board.controls.get(name, []):
        if entry.name == f"{name}: {control}":
            return board.scores_of(entry, section.attribute, section.structure, "dice")
    return None


class _Groups:
    """Means over all test samples and over each group, method by method."""

    def __init__(self, board: Board, section: Section) -> None:
        self.board = board
        self.section = section
        column = board.tested(section.structure)[section.attribute].to_numpy(object)
        self.members = [column == group for group in section.kept]

    def means(self, name: str, metric: str, without: int | None) -> tuple[float, np.ndarray]:
        scores = self.board.matrix(name, self.section.attribute, self.section.structure, metric)
        assert scores is not None
        return self.means_of(scores, without)

    def means_of(self, scores: np.ndarray, without: int | None = None) -> tuple[float, np.ndarray]:
        """Return the mean of scores, float [seeds, samples], over all samples and over each group."""
        used = np.array([seed != without for seed in self.board.seeds]) & ~np.isnan(scores).all(axis=1)
        if not used.any():
            return np.nan, np.full(len(self.members), np.nan)
        average = scores[used].mean(axis=0)
        return float(average.mean()), np.array([average[mine].mean() for mine in self.members])
