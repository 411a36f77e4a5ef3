"""Measure how often each claim of the board is wrong, and how often a true one is made, over a grid.

    python tests/benchmarks/claims.py [--cohorts 100] [--jobs 2] [--minutes M] [--only PART] [--where WORDS]
        [--anywhere 0] [--keep FILE]

Prints the tables of docs/equity.md, and what they cost. As it stands each cell has the same 100 cohorts on
any machine, in some 650 seconds of CPU: under ten minutes on two cores. `--cohorts 1000 --anywhere 60
--keep FILE` is the whole grid: a day's work, which the next run goes on with. With --minutes it stops by the
clock, every cell in its turn. A rate is the percent of cohorts in which *some* claim of the family is made.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any
from zlib import crc32

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process is a core's; more threads would wait for each other

import numpy as np
import pandas as pd
from calibration import markdown
from nulls import World, draw_views
from scipy import stats

from harness.equity import Scores, across, many
from harness.equity.across import contrasts_of_mean
from harness.equity.noise import above_chance, relabelled, share_above
from harness.equity.pairs import between
from harness.equity.quantities import gap, quantities
from harness.equity.reference import ALPHA
from harness.equity.resampling import Draws

FAMILIES = (
    "letters",
    "closed form",
    "better than ERM",
    "best",
    "gap verdict",
    "above chance",
    "one of six views",
    "disagree",
    "letters of the mean",
    "linear alone",
    "mean of gaps",
)
RELABELLINGS = 400
VIEWS = 6
LEAST = 20
_TURN = 10
"""Cohorts that every world gets, and that are judged before another world has its turn."""

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
    *(
        World(methods=m, seeds=s, sizes=sizes, calm=calm)
        for m, s in ((2, 3), (2, 5), (6, 5))
        for sizes, calm in (((40, 60, 400), 0.5), ((40,) * 5, 0.5), ((40,) * 5, 0.0))
    ),
)
"""One thing is moved at a time about six methods, three seeds and groups of 40, 60 and 400; in the last
fifteen worlds methods are equally fair without being alike."""

POWER: tuple[World, ...] = tuple(
    replace(World(methods=m, seeds=s, by_seed=v), **{change: amount})
    for m, s, v in ((2, 3, 0.0), (6, 3, 0.0), (6, 3, 0.005), (6, 3, 0.01), (6, 5, 0.01), (6, 10, 0.01))
    for change, amount in (("better", 0.01), ("better", 0.02), ("better", 0.05), ("gap", 0.05))
)


_FOLDED = replace(BASIC, sizes=(40, 60), folds=5, training=0.02)
FOLDS: tuple[World, ...] = (
    *(replace(_FOLDED, methods=m, seeds=s) for m in (2, 6) for s in (3, 5, 10)),
    replace(_FOLDED, methods=20, seeds=5),
    *(replace(_FOLDED, methods=m, seeds=3, training=0.04) for m in (2, 6)),
    replace(_FOLDED, kind="zero-inflated", sizes=(40, 60, 400)),
    replace(_FOLDED, kind="heavy-tailed", sizes=(10, 20, 200), samples=3),
    *(replace(_FOLDED, methods=m, seeds=s, training=0.0, same_folds=True) for m in (2, 6) for s in (3, 5)),
    *(replace(_FOLDED, methods=m, seeds=s, same_folds=True) for m in (2, 6) for s in (3, 5)),
)
"""In the last four the harness would not be right: what a training set does is the same under every seed."""

_MEAN = replace(BASIC, views=4)
MEANS: tuple[World, ...] = (
    *(replace(_MEAN, methods=m, seeds=s) for m in (2, 6, 20) for s in (3, 5)),
    *(replace(_MEAN, methods=2, seeds=s, views=v) for s in (3, 5) for v in (2, 6)),
    *(replace(_MEAN, by_seed=v, by_group=v) for v in (0.0, 0.04)),
    *(replace(_MEAN, kind=kind, seeds=5) for kind in ("zero-inflated", "one-inflated", "heavy-tailed")),
    replace(_MEAN, sizes=(10, 20, 200), samples=3),
    replace(_MEAN, methods=3, seeds=5, unstable=10.0),
    *(
        World(methods=2, seeds=5, sizes=(250, 250), turned=turned, views=v)
        for turned in (0.004, 0.006, 0.01)
        for v in (1, 2, 4)
    ),
    *(World(methods=m, seeds=5, sizes=(60, 60, 60), turned=0.01, views=4) for m in (2, 6)),
)

MEANS_POWER: tuple[World, ...] = tuple(
    replace(World(methods=m, seeds=s, by_seed=v, views=4), **{change: amount})
    for m, s, v in ((2, 3, 0.0), (6, 5, 0.005))
    for change, amount in (("better", 0.02), ("better", 0.05), ("gap", 0.05))
)

FOLDS_POWER: tuple[World, ...] = tuple(
    replace(_FOLDED, methods=m, seeds=5, training=t, **{change: amount})
    for m in (2, 6)
    for t in (0.0, 0.02)
    for change, amount in (("better", 0.02), ("better", 0.05), ("gap", 0.1))
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
    parser.add_argument("--cohorts", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="by the clock, for all parts")
    parser.add_argument("--only", choices=tuple(_PARTS), action="append")
    parser.add_argument("--anywhere", type=int, default=0, help="null worlds more, drawn over the whole grid")
    parser.add_argument("--where", default="", help="only worlds that are described with these words")
    parser.add_argument("--keep", type=Path, help="a file of counts to go on from and to write to")
    asked = parser.parse_args()
    parts = {name: _PARTS[name] for name in asked.only or _PARTS}
    if "null" in parts:
        title, worlds, judge = parts["null"]
        parts["null"] = title, (*worlds, *anywhere(asked.anywhere)), judge
    parts = {
        name: (title, tuple(world for world in worlds if asked.where in str(world)), judge)
        for name, (title, worlds, judge) in parts.items()
    }
    counts, start = Counts(asked.keep), time.perf_counter()
    whole = sum(len(worlds) for _, worlds, _ in parts.values())
    for title, worlds, judge in (part for part in parts.values() if part[1]):
        counts.fill(worlds, judge, asked.cohorts, asked.jobs, 60 * asked.minutes * len(worlds) / whole)
        print(f"{title}\n\n{counts.table(worlds)}\n", flush=True)
        if judge in (wrong, wrong_of_mean):
            print(f"{counts.worst(worlds)}\n", flush=True)
    used = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"{used:.0f} seconds of CPU in {time.perf_counter() - start:.0f} by the clock.")


Judge = Callable[[list[Scores], int], dict[str, bool]]


class Counts:
    """How often each thing was true of each world's cohorts, kept in a file where one is given."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        kept = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self.of: dict[str, dict[str, int]] = kept

    def fill(
        self,
        worlds: Sequence[World],
        judge: Judge,
        cohorts: int,
        jobs: int,
        seconds: float,
    ) -> None:
        """Draw cohorts until all worlds have theirs or the time is over, every world in its turn."""
        end = time.perf_counter() + seconds
        with ProcessPoolExecutor(jobs) as pool:
            while open_ := [world for world in dict.fromkeys(worlds) if self.drawn(world) < cohorts]:
                late = time.perf_counter() >= end
                turn = [world for world in open_ if not late or self.drawn(world) < LEAST]
                if not turn:
                    return
                which = [(self.drawn(one), min(self.drawn(one) + _TURN, cohorts)) for one in turn]
                found = pool.map(judged, repeat(judge), turn, *zip(*which, strict=True))
                for world, counted in zip(turn, found, strict=True):
                    mine = self.of.setdefault(str(world), {"cohorts": 0})
                    for name, hits in counted.items():
                        mine[name] = mine.get(name, 0) + hits
                if self.path is not None:
                    self.path.write_text(json.dumps(self.of))

    def drawn(self, world: World) -> int:
        """Return how many cohorts of a world were judged."""
        return self.of.get(str(world), {}).get("cohorts", 0)

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
            if not own:
                continue
            hits, n = (sum(mine[key] for mine in own.values()) for key in (family, "cohorts"))
            surest = max(own, key=lambda world: interval(own[world][family], own[world]["cohorts"])[0])
            mine = own[surest]
            rows[family] = {
                "of all": said(hits, n),
                "worst": said(mine[family], mine["cohorts"]),
                "where": surest,
            }
        return markdown(pd.DataFrame(rows).T)


def judged(judge: Judge, world: World, first: int, stop: int) -> Counter[str]:
    """Return of how many of a world's cohorts each thing is true, those from `first` to before `stop`."""
    found: Counter[str] = Counter()
    for cohort in range(first, stop):
        rng = np.random.default_rng([cohort, crc32(str(world).encode())])
        said = judge(draw_views(world, rng), cohort)
        if world.turned:  # there the gaps are true
            said.pop("above chance", None)
        found.update({"cohorts": 1} | {name: int(hit) for name, hit in said.items()})
    return found


def interval(hits: int, n: int) -> tuple[float, float]:
    """Return Clopper and Pearson's 95% interval of a share."""
    low = stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


def said(hits: int, n: int) -> str:
    """Return a rate in percent with its interval."""
    low, high = interval(hits, n)
    return f"{100 * hits / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def wrong(cohort: list[Scores], seed: int) -> dict[str, bool]:
    """Return which claims are made of a cohort: in a null cohort each is wrong."""
    scores = cohort[0]
    draws, known = many.errors(scores).draws, quantities(True)
    draws = replace(draws, seed=seed, resamples=RELABELLINGS)
    m = len(scores.methods)
    pairs = m * (m - 1) // 2
    es, narrower = between(draws, "es_sum", known["es_sum"]), between(draws, "gap", known["gap"], 0)
    linear = between(draws, "es_sum", known["es_sum"], drawn=False)
    tested, verdicts = es.together(pairs), narrower.together(m - 1)
    low, high = tested.interval()
    apart = tested.p <= ALPHA
    return {
        "letters": bool(apart.any()),
        "closed form": bool((linear.together(pairs).p <= ALPHA).any()),
        "better than ERM": bool((es.together(m - 1).p[0, 1:] <= ALPHA).any()),
        "best": bool((apart & (es.difference > 0)).sum(axis=1).max() == m - 1),
        "gap verdict": bool((verdicts.p[0, 1:] <= ALPHA).any()),
        "above chance": _above(draws),
        "one of six views": bool((tested.p * VIEWS <= ALPHA).any()),
        "disagree": bool((apart != ((low > 0) | (high < 0))).any()),
    }


def _above(draws: Draws) -> bool:
    """Return whether some gap is above chance: groups are dealt anew only where the other half says so."""
    m = len(draws.means)
    if not above_chance(draws.scores, np.zeros(m))["above"].any():
        return False
    dealt = relabelled(draws)
    p = [share_above(gap(np.array(0.0), dealt[:, i]), float(np.ptp(draws.means[i, :-1]))) for i in range(m)]
    return bool(above_chance(draws.scores, np.array(p))["above"].any())


def wrong_of_mean(cohort: list[Scores], seed: int) -> dict[str, bool]:
    """Return which claims are made of the mean over a cohort's views, and by its linear form alone."""
    es, gaps = (contrasts_of_mean(cohort, name) for name in ("es_sum", "gap"))
    m = len(cohort[0].methods)
    tests = es.together(m * (m - 1) // 2)
    low, high = tests.interval()
    p = many.adjusted(es)
    return {
        "letters of the mean": bool(across(cohort)["letters"].nunique() > 1),
        "linear alone": bool((many.adjusted(replace(es, bend=None)) <= ALPHA).any()),
        "mean of gaps": bool((many.adjusted(gaps) <= ALPHA).any()),
        "disagree": bool(((p <= ALPHA) != ((low > 0) | (high < 0))).any()),
    }


def seen_of_mean(cohort: list[Scores], seed: int) -> dict[str, bool]:
    """Return whether the first method is told from the second on the mean, and in the first view."""
    es = contrasts_of_mean(cohort, "es_sum")
    return {
        "mean of ES": bool(many.adjusted(es)[0, 1] <= ALPHA),
        "linear alone": bool(many.adjusted(replace(es, bend=None))[0, 1] <= ALPHA),
        "mean of gaps": bool(many.adjusted(contrasts_of_mean(cohort, "gap"))[0, 1] <= ALPHA),
        "ES of the first view": seen(cohort, seed)["ES, all pairs"],
    }


def seen(cohort: list[Scores], seed: int) -> dict[str, bool]:
    """Return whether the first method is told from the second in ES and gap, or called equivalent."""
    draws, known = replace(many.errors(cohort[0]).draws, seed=seed), quantities(True)
    m = len(cohort[0].methods)
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


_PARTS: dict[str, tuple[str, tuple[World, ...], Judge]] = {
    "null": ("Null cohorts: percent in which a claim is made", NULL, wrong),
    "folds": ("The same, folded", FOLDS, wrong),
    "mean": ("The mean of several views: percent in which a claim is made", MEANS, wrong_of_mean),
    "power": ("One method differs: percent in which it is seen", (*POWER, *FOLDS_POWER), seen),
    "mean power": ("The same, of the mean of several views", MEANS_POWER, seen_of_mean),
}


if __name__ == "__main__":
    main()
