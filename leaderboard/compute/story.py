"""A method's page as a story: what it does, whether it helps, whom, at what price, and whom it fails."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.equity import MIN_PATIENTS
from harness.equity.comparison import ALPHA
from harness.protocol import BASELINE
from harness.store import MethodInfo
from leaderboard.compute import words
from leaderboard.compute.controls import Twin
from leaderboard.compute.row import Row
from leaderboard.compute.sections import Line, Section
from leaderboard.read.boards import Board

MOST_CASES = 3
"""Worst cases of each group that are listed."""


def what_it_does(info: MethodInfo) -> str:
    """Return the first sentences of a method's file and class, as its author wrote them, "" without any."""
    try:
        tree = ast.parse(info.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    own = [node for node in classes if any("Method" in ast.unparse(base) for base in node.bases)]
    said = [_first(ast.get_docstring(tree)), *(_first(ast.get_docstring(node)) for node in own[-1:])]
    return " ".join(dict.fromkeys(text for text in said if text))


def _first(docstring: str | None) -> str:
    """Return a docstring's first paragraph as one line, with a full stop."""
    text = " ".join((docstring or "").strip().partition("\n\n")[0].split())
    return text if not text or text[-1] in ".!?" else f"{text}."


def told(section: Section, row: Row, twins: Sequence[Twin]) -> list[tuple[str, str]]:
    """Return a method's story by an attribute, in the structure that ranks: questions with their answers."""
    than = "ERM" if row.versus is None else row.versus.than
    answers = [
        (f"Against {than}: is it better?", is_it_better(row)),
        ("For whom, and at what price to the others?", for_whom(row, changes(section, row))),
        ("Is its gap real?", is_its_gap_real(row)),
        ("What does it cost?", what_it_costs(section, row)),
        ("What is left without its groups?", what_is_left(twins)),
    ]
    return [(question, answer) for question, answer in answers if answer]


def is_its_gap_real(row: Row) -> str:
    """Say whether the gap between a method's groups is more than chance makes."""
    gap = row.number("dice", "gap")
    if not words.gap_finding(row):
        return ""
    if not words.shows(gap.value):
        return "There is none: less than 0.001 between any two groups."
    floor = row.noise["dice"].floor_95
    chance = f"up to {words.number(floor)}" if words.shows(floor) else "less than 0.001"
    return f"Gap {words.number(gap.value)}, {words.gap_finding(row)}; chance alone makes {chance}."


def is_it_better(row: Row) -> str:
    """Say whether a method is better than its yardstick."""
    if row.method == BASELINE:
        return "It is the yardstick that others are held against."
    if row.rank is None:
        return f"Not known: {words.unranked(row)}."
    if row.versus is None:
        return "There is no ERM to compare it with."
    n = row.versus.number
    if not row.versus.tested:
        by = f" ({words.signed(n.value)})" if n.there else ""
        return f"Not known{by}: {n.note}."
    finding = words.difference_finding(row)
    by = f"ES-Dice {words.signed(n.value)}, {words.signed(n.low)} to {words.signed(n.high)}"
    return f"{finding[0].upper()}{finding[1:]}: {by}."


@dataclass(frozen=True)
class Change:
    """What a method changed for one group, against its yardstick; better: None where within chance."""

    group: str
    difference: float
    low: float
    high: float
    better: bool | None

    @property
    def said(self) -> str:
        """The change in a few words."""
        sure = {True: "gained", False: "lost", None: "within chance"}[self.better]
        return f"{words.isolated(self.group)} {words.signed(self.difference)} ({sure})"


def changes(section: Section, row: Row) -> list[Change]:
    """Return what a method changed for every group; none where it is not compared."""
    if row.versus is None or not row.versus.tested or "dice" not in section.tables:
        return []
    table = section.tables["dice"].comparison
    if table is None:
        return []
    own = table[(table["method"] == row.method) & (table["quantity"] == "group")]
    return [_change({str(key): value for key, value in line.items()}) for line in own.to_dict("records")]


def _change(line: Line) -> Change:
    better = line["better"]
    sure = bool(better) if isinstance(better, bool | np.bool_) else None
    difference, low, high = (float(line[key]) for key in ("difference", "low_adjusted", "high_adjusted"))
    return Change(str(line["group"]), difference, low, high, sure)


def for_whom(row: Row, found: Sequence[Change]) -> str:
    """Say whom a method helps, and at what price to the others."""
    there = [change for change in found if not math.isnan(change.difference)]
    if not there or row.versus is None:
        return ""
    gained = [change.said for change in there if change.better is True]
    lost = [change.said for change in there if change.better is False]
    same = [change.said for change in there if change.better is None]
    than = row.versus.than
    if not gained and not lost:
        said = f"No group’s Dice differs from {than}’s beyond chance: {', '.join(same)}."
    else:
        said = f"Against {than}: {', '.join([*gained, *lost, *same])}."
        said += "" if lost else " No group lost beyond chance."
    if levelled := words.levelled(row):
        return f"{said} {levelled[0].upper()}{levelled[1:]}."
    verdict = row.versus.verdict
    return f"{said} {verdict[0].upper()}{verdict[1:]}." if verdict else said


def what_it_costs(section: Section, row: Row) -> str:
    """Say what training takes, in the baseline's time."""
    if row.cost is None:
        return ""
    memory = words.size(row.cost.peak_memory_bytes)
    said = f"{words.duration(row.cost.fit_seconds)} of training a seed and {memory}"
    base = section.row(section.baseline) if section.baseline else None
    if base is None or base is row or base.cost is None or not base.cost.fit_seconds:
        return f"{said}."
    times = row.cost.fit_seconds / base.cost.fit_seconds
    return f"{said}: {f'{times:.1f}' if words.shows(times, 1) else 'under 0.1'} times ERM’s time."


def what_is_left(found: Sequence[Twin]) -> str:
    """Say what of a gain is there without what a control takes away."""
    tested = [twin for twin in found if twin.es_difference.there and not math.isnan(twin.p)]
    if not tested:
        return "Not known: no control has been run on enough seeds." if found else ""
    said = []
    for twin in tested:
        by = f"{words.signed(twin.es_difference.value)}, {words.p_value(twin.p)}"
        if twin.p > ALPHA:
            said.append(f"With {twin.name} the score is not told apart from the method’s own ({by})")
        else:
            side = "better" if twin.better else "worse"
            said.append(f"The method is {side} than with {twin.name} ({by})")
    return f"{'. '.join(said)}."


@dataclass(frozen=True)
class Failure:
    """A test sample on which a method does badly, by its place among the samples and not by its name."""

    place: int
    dice: float
    size: float


def whom_it_fails(board: Board, section: Section, method: str) -> dict[str, list[Failure]]:
    """Return each group's samples of lowest Dice, the mean over seeds; groups too small are left out."""
    values = board.matrix(method, section.attribute, section.structure, "dice")
    if values is None:
        return {}
    there = ~np.isnan(values).all(axis=0)
    mean = np.full(values.shape[1], np.nan)
    mean[there] = np.nanmean(values[:, there], axis=0)
    sizes, tested = board.size(section.structure), board.tested(section.structure)
    found = {}
    for group in section.groups:
        own = np.flatnonzero((tested[section.attribute] == group).to_numpy(bool) & there)
        if tested["patient"].iloc[own].nunique() < MIN_PATIENTS:
            continue
        worst = own[np.argsort(mean[own], kind="stable")][:MOST_CASES]
        found[group] = [
            Failure(int(i) + 1, float(mean[i]), math.nan if sizes is None else float(sizes[i])) for i in worst
        ]
    return found
