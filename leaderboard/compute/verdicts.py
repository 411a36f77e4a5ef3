"""What a table says at a glance: a verdict of a few words, what would change it, whether gaps are real."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

from harness.equity import LEAST_SEEDS
from leaderboard.compute import tracks, words
from leaderboard.compute.row import Row
from leaderboard.compute.sections import Section
from leaderboard.read.boards import Board

MOST_WORDS = 12
_LONGEST = 34
"""Characters of a title that a verdict has room for."""


def verdict(section: Section) -> str:
    """Say in at most twelve words what the table shows."""
    ranked = section.ranked
    if not ranked:
        return f"Nothing can be ranked {'here' if any(row.done for row in section.rows) else 'yet'}"
    if ranked[0].best:
        told = "" if section.track == tracks.MAIN else " of its track"
        return f"{_called(ranked[0])} is best{told}"
    if len(ranked) == 1:
        others = any(row.done for row in section.rows if row is not ranked[0])
        return "Only one method can be ranked" if others else "Only one method has finished"
    if better := words.better_than_erm(section):
        who = (
            f"{_called(better[0])} is" if len(better) == 1 else f"{len(better)} of {len(ranked)} methods are"
        )
        return f"{who} better than ERM, none shown best"
    if words.identical(section):
        return f"{'Both' if len(ranked) == 2 else 'All'} methods score the same"
    if not told_apart(section):
        return "No difference can be told yet"
    worse = sum(row.versus is not None and row.versus.told == "worse" for row in ranked)
    return "No method is shown to be best" + (f"; {worse} are worse than ERM" if worse > 1 else "")


def told_apart(section: Section) -> bool:
    """Whether any two methods of the table are told apart: share no letter."""
    letters = Counter(frozenset(row.letters) for row in section.ranked)
    return letters[frozenset()] > 1 or any(not one & other for one, other in combinations(letters, 2))


def what_would_change_it(section: Section) -> str:
    """Say in one line what the verdict rests on, and what it would take to see more."""
    ranked = section.ranked
    if not ranked:
        return words.nothing(section)
    if len(ranked) == 1:
        return "A second method is needed to compare it with."
    top = ranked[0]
    if top.best:
        others = f"all {len(ranked) - 1} others" if len(ranked) > 2 else _called(ranked[1])
        wider = top.versus is not None and top.versus.verdict.startswith("gap wider")
        but = " Its gap is wider: higher Dice makes it best." if wider else ""
        return f"In paired tests against {others}; first in {words.percent(top.p_best)} of resamples.{but}"
    if sum(row.done >= LEAST_SEEDS for row in ranked) < 2:
        most = max(row.done for row in ranked if row.done < LEAST_SEEDS)
        return f"{words.counted(most, 'seed')}: no two methods are told apart on fewer than three."
    return _sees(section)


def _sees(section: Section) -> str:
    if not section.enough:
        return ""
    if words.identical(section):
        return f"ES-Dice is {words.number(section.ranked[0].number('dice', 'es_sum').value)} for every one."
    now = section.enough[0]
    size = f"{words.counted(int(now['seeds']), 'seed')} and {words.counted(int(now['patients']), 'patient')}"
    if not words.shows(now["detectable"]):
        return f"{size} see less than 0.001."
    seen = f"{size} see {words.number(now['detectable'])} or more"
    for line in section.enough:
        if line["difference"] < now["detectable"] and not math.isnan(line["seeds_needed"]):
            seeds = words.needed(line["seeds_needed"], "seed")
            return f"{seen}; {line['difference']:g} would take {seeds}."
    finer = [line for line in section.enough if line["difference"] < now["detectable"]]
    for line in finer:
        if not math.isnan(line["patients_needed"]):
            patients = words.needed(line["patients_needed"], "patient")
            return f"{seen}; {line['difference']:g} would take {patients}."
    return f"{seen}."


def gaps(section: Section) -> str:
    """Say in one line whether the gaps by this attribute are real."""
    tested = [above for row in section.ranked if (above := words.gap_above(row)) is not None]
    if not tested:
        return f"Whether the gaps by {section.attribute} are real is not known."
    real = sum(tested)
    if len(tested) == 1:
        return f"The gap by {section.attribute} is {'' if real else 'not '}more than chance makes."
    if real == len(tested):
        every = "both" if real == 2 else f"all {real}"
        return f"By {section.attribute} {every} gaps are more than chance makes."
    if real:
        are = "is" if real == 1 else "are"
        return f"By {section.attribute} {real} of {len(tested)} gaps {are} more than chance makes."
    hidden = max(row.noise["dice"].detectable for row in section.ranked if words.gap_finding(row))
    seen = f"; one of {words.number(hidden)} would likely be seen" if words.shows(hidden) else ""
    return f"By {section.attribute} no gap is more than chance makes{seen}."


def mini(section: Section) -> str:
    """Say the verdict in the few words that a tab has room for."""
    ranked = section.ranked
    if len(ranked) < 2:
        return "nothing to compare" if ranked else "nothing ranked"
    tested = [above for row in ranked if (above := words.gap_above(row)) is not None]
    real = f"{sum(tested)} of {len(tested)} gaps real" if tested else "gaps not known"
    if ranked[0].best:
        return f"a best method · {real}"
    if words.identical(section):
        return f"all the same · {real}"
    if better := words.better_than_erm(section):
        return f"{len(better)} beat{'s' if len(better) == 1 else ''} ERM · {real}"
    return f"{'no best method' if told_apart(section) else 'none told apart'} · {real}"


def own(board: Board, row: Row, common: list[str]) -> list[str]:
    """Return what a row says of itself beside its name, without what is said once for all, `common`."""
    return [said for said in _about(board, row) if said and said not in common]


def shared(board: Board, section: Section) -> list[str]:
    """Return what all of several rows would say of themselves, which the table says once."""
    if len(section.rows) < 2:
        return []
    sorts = (set(said) - {""} for said in zip(*(_about(board, row) for row in section.rows), strict=True))
    return [one for said in sorts if len(said) == 1 for one in said]


def _about(board: Board, row: Row) -> tuple[str, ...]:
    return words.status(row), words.obtained(row), words.trained(row), words.chosen(board, row.method)


def _called(row: Row) -> str:
    """Return a title cut between words, so that a stranger's long one leaves room for the verdict."""
    whole = " ".join(row.title.split())
    title = whole if len(whole) <= _LONGEST else whole[:_LONGEST].rpartition(" ")[0]
    title = " ".join(title.split()[:5])
    if title != whole:
        title = title.rstrip(" ,;:.-–—(") + "…"
    named = words.isolated(title if title.strip(" …") else row.method[:_LONGEST])
    return f"{named} (self-reported)" if row.obtained == "reported" else named
