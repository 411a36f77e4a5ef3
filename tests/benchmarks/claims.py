"""Measure how often each claim of the board is wrong, and how often a true one is made, over a grid.

    python tests/benchmarks/claims.py [--cohorts 1000] [--minutes 9] [--only null|power]
        [--anywhere 0] [--keep FILE]

Prints the tables of docs/equity.md. Each cell stops at its share of the minutes, and the table says how many
cohorts it got; with --keep the next run adds to them. A rate is the percent of cohorts in which *some*
claim of the family is made.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from calibration import markdown
from nulls import World, draw
from scipy import stats

from harness.equity import Scores, many
from harness.equity.noise import above_chance, relabelled, share_above
from harness.equity.pairs import between
from harness.equity.quantities import gap, quantities
from harness.equity.reference import ALPHA

FAMILIES = (
    "letters",
    "closed form",
    "better than ERM",
    "best",
    "gap verdict",
    "above chance",
    "one of six views",
    "disagree",
)
RELABELLINGS = 400
VIEWS = 6
LEAST = 20
_TURN = 1.0
"""Cohorts that every world gets, and seconds that it has at a time."""

BASIC = World(by_seed=0.01, by_group=0.01)
NULL: tuple[World, ...] = (
    *(replace(BASIC, methods=m, seeds=s) for m in (2, 6) for s in (2, 3, 5, 10)),
    *(replace(BASIC, methods=m, seeds=s) for m, s in ((20, 3), (20, 5), (60, 3))),
    *(replace(BASIC, seeds=s, by_seed=v, by_group=0.0) for s in (3, 5) for v in (0.0, 0.005, 0.02, 0.04)),
    *(replace(BASIC, seeds=s, by_seed=0.0, by_group=v) for s in (3, 5) for v in (0.01, 0.02, 0.04)),
    *(replace(BASIC, methods=m, by_seed=0.04, by_group=0.04) for m in (2, 3, 6, 20)),
    *(
        replace(BASIC, kind=kind, seeds=s, by_seed=v, by_group=v)
        for kind in ("zero-inflated", "one-inflated", "heavy-tailed")
        for s, v in ((3, 0.0), (3, 0.02), (5, 0.01))
    ),
    *(
        replace(BASIC, sizes=sizes)
        for sizes in ((10, 20, 200), (400, 400), (10, 490), (40,) * 5, (40, 60, 400, 80, 80, 40, 100, 50))
    ),
    *(
        replace(BASIC, sizes=(10, 20, 200), kind=kind, samples=3)
        for kind in ("smooth", "zero-inflated", "heavy-tailed")
    ),
    *(replace(BASIC, methods=m, seeds=s, unstable=u) for m in (3, 6) for s in (3, 5) for u in (3.0, 10.0)),
    *(
        World(methods=m, seeds=s, sizes=sizes, by_seed=0.005, turned=turned)
        for m, s in ((2, 3), (6, 3), (6, 5))
        for sizes, turned in (((250, 250), 0.01), ((60, 60, 60), 0.02))
    ),
)
"""One thing is moved at a time about six methods, three seeds and groups of 40, 60 and 400; in the last six
worlds methods are equally fair without being alike."""

POWER: tuple[World, ...] = tuple(
    replace(World(methods=m, seeds=s, by_seed=v), **{change: amount})
    for m, s, v in ((2, 3, 0.0), (6, 3, 0.0), (6, 3, 0.005), (6, 3, 0.01), (6, 5, 0.01), (6, 10, 0.01))
    for change, amount in (("better", 0.01), ("better", 0.02), ("better", 0.05), ("gap", 0.05))
)


_SIZES = ((10, 20, 200), (40, 60, 400), (400, 400))
_KINDS = ("smooth", "zero-inflated", "one-inflated", "heavy-tailed")


def anywhere(cells: int, seed: int = 21) -> tuple[World, ...]:
    """Return worlds with everything moved at once, drawn over the whole grid."""
    rng = np.random.default_rng(seed)

    def one_of(values: Sequence[Any], chances: Sequence[float] | None = None) -> Any:
        return values[int(rng.choice(len(values), p=chances))]

    return tuple(
        World(
            methods=one_of((2, 6, 20), (0.4, 0.45, 0.15)),
            seeds=one_of((2, 3, 5, 10)),
            sizes=one_of(_SIZES),
            kind=one_of(_KINDS),
            by_seed=one_of((0.0, 0.005, 0.01, 0.02, 0.04)),
            by_group=one_of((0.0, 0.01, 0.02, 0.04)),
            samples=one_of((1, 3)),
        )
        for _ in range(cells)
    )


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--only", choices=("null", "power"))
    parser.add_argument("--anywhere", type=int, default=0, help="null worlds more, drawn over the whole grid")
    parser.add_argument("--keep", type=Path, help="a file of counts to go on from and to write to")
    asked = parser.parse_args()
    worlds = {"null": (*NULL, *anywhere(asked.anywhere)), "power": POWER}
    asked_for = [name for name in worlds if asked.only in (None, name)]
    counts = Counts(asked.keep)
    whole = sum(len(worlds[name]) for name in asked_for)
    for name in asked_for:
        seconds = 60 * asked.minutes * len(worlds[name]) / whole
        counts.fill(worlds[name], {"null": wrong, "power": seen}[name], asked.cohorts, seconds)
        print(f"{_TITLES[name]}\n\n{counts.table(worlds[name])}\n", flush=True)
    if "null" in asked_for:
        print(counts.worst(worlds["null"]))


_TITLES = {
    "null": "Null cohorts: percent in which a claim is made",
    "power": "One method differs: percent in which it is seen",
}


class Counts:
    """How often each thing was true of each world's cohorts, kept in a file where one is given."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        kept = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self.of: dict[str, dict[str, int]] = kept

    def fill(
        self,
        worlds: Sequence[World],
        judge: Callable[[Scores, int], dict[str, bool]],
        cohorts: int,
        seconds: float,
    ) -> None:
        """Draw cohorts until all worlds have theirs or the time is over, every world in its turn."""
        end = time.perf_counter() + seconds
        while open_ := [world for world in worlds if self.drawn(world) < cohorts]:
            for i, world in enumerate(open_):
                left = (end - time.perf_counter()) / (len(open_) - i)
                if left <= 0 and self.drawn(world) >= LEAST:
                    continue
                self._draw(world, judge, cohorts, min(left, _TURN))
                if self.path is not None:
                    self.path.write_text(json.dumps(self.of))
            if time.perf_counter() >= end:
                return

    def drawn(self, world: World) -> int:
        """Return how many cohorts of a world were judged."""
        return self.of.get(str(world), {}).get("cohorts", 0)

    def _draw(
        self, world: World, judge: Callable[[Scores, int], dict[str, bool]], cohorts: int, seconds: float
    ) -> None:
        mine, start = self.of.setdefault(str(world), {"cohorts": 0}), time.perf_counter()
        while mine["cohorts"] < cohorts:
            if mine["cohorts"] >= LEAST and time.perf_counter() - start > seconds:
                return
            cohort = mine["cohorts"]
            rng = np.random.default_rng([cohort, crc32(str(world).encode())])
            found = judge(draw(world, rng), cohort)
            if world.turned:  # there the gaps are true
                found.pop("above chance", None)
            for name, hit in found.items():
                mine[name] = mine.get(name, 0) + int(hit)
            mine["cohorts"] += 1

    def table(self, worlds: Sequence[World]) -> str:
        """Return a Markdown table of the percent of each world's cohorts in which each thing was true."""
        rows = {}
        for world in dict.fromkeys(map(str, worlds)):
            mine = dict(self.of[world])
            n = mine.pop("cohorts")
            rows[world] = {"cohorts": str(n)} | {name: f"{100 * hits / n:.1f}" for name, hits in mine.items()}
        return markdown(pd.DataFrame(rows).T.fillna("–"))

    def worst(self, worlds: Sequence[World]) -> str:
        """Return a Markdown table of each family's rate over all worlds, and of its worst one."""
        rows = {}
        for family in FAMILIES:
            own = {world: self.of[world] for world in map(str, worlds) if family in self.of[world]}
            hits, n = (sum(mine[key] for mine in own.values()) for key in (family, "cohorts"))
            surest = max(own, key=lambda world: interval(own[world][family], own[world]["cohorts"])[0])
            mine = own[surest]
            rows[family] = {
                "of all": said(hits, n),
                "worst": said(mine[family], mine["cohorts"]),
                "where": surest,
            }
        return markdown(pd.DataFrame(rows).T)


def interval(hits: int, n: int) -> tuple[float, float]:
    """Return Clopper and Pearson's 95% interval of a share."""
    low = stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


def said(hits: int, n: int) -> str:
    """Return a rate in percent with its interval."""
    low, high = interval(hits, n)
    return f"{100 * hits / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def wrong(scores: Scores, seed: int) -> dict[str, bool]:
    """Return which claims are made of a cohort: in a null cohort each is wrong."""
    draws, known = many.errors(scores).draws, quantities(True)
    draws = replace(draws, seed=seed, resamples=RELABELLINGS)
    m = len(scores.methods)
    pairs = m * (m - 1) // 2
    es, narrower = between(draws, "es_sum", known["es_sum"]), between(draws, "gap", known["gap"], 0)
    tested, verdicts = es.together(pairs), narrower.together(m - 1)
    low, high = tested.interval()
    apart = tested.p <= ALPHA
    dealt = relabelled(draws)
    of_gaps = [
        share_above(gap(np.array(0.0), dealt[:, i]), float(np.ptp(draws.means[i, :-1]))) for i in range(m)
    ]
    return {
        "letters": bool(apart.any()),
        "closed form": bool(
            (between(draws, "es_sum", known["es_sum"], drawn=False).together(pairs).p <= ALPHA).any()
        ),
        "better than ERM": bool((es.together(m - 1).p[0, 1:] <= ALPHA).any()),
        "best": bool((apart & (es.difference > 0)).sum(axis=1).max() == m - 1),
        "gap verdict": bool((verdicts.p[0, 1:] <= ALPHA).any()),
        "above chance": bool(above_chance(scores, np.array(of_gaps))["above"].any()),
        "one of six views": bool((tested.p * VIEWS <= ALPHA).any()),
        "disagree": bool((apart != ((low > 0) | (high < 0))).any()),
    }


def seen(scores: Scores, seed: int) -> dict[str, bool]:
    """Return whether the first method is told from the second in ES and gap, or called equivalent."""
    draws, known = replace(many.errors(scores).draws, seed=seed), quantities(True)
    m = len(scores.methods)
    pairs = m * (m - 1) // 2
    es, gaps = between(draws, "es_sum", known["es_sum"]), between(draws, "gap", known["gap"], 0)
    linear = between(draws, "es_sum", known["es_sum"], drawn=False)
    low, high = es.together(pairs).interval(2 * ALPHA)
    inside = (low > -0.01) & (high < 0.01)
    return {
        "ES by itself": bool(es.alone.p[0, 1] <= ALPHA),
        "ES, all pairs": bool(es.together(pairs).p[0, 1] <= ALPHA),
        "ES, closed form": bool(linear.together(pairs).p[0, 1] <= ALPHA),
        "gap": bool(gaps.together(m - 1).p[0, 1] <= ALPHA),
        "wrongly equivalent": bool(inside[0, 1]),
    }


if __name__ == "__main__":
    main()
