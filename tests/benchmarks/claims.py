"""Measure how often each claim of the board is wrong, and how often a true one is made, over a grid.

    python tests/benchmarks/claims.py [--cohorts 1000] [--minutes 9] [--only null|power]

Prints the tables of docs/equity.md. Each cell stops at its share of the minutes, and the table says how many
cohorts it got. A rate is the percent of cohorts in which *some* claim of the family is made.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from calibration import markdown
from nulls import World, draw

from harness.equity import Scores, many
from harness.equity.contrasts import contrasts
from harness.equity.noise import above_chance, relabelled, share_above
from harness.equity.pairs import between
from harness.equity.quantities import gap, quantities
from harness.equity.reference import ALPHA

FAMILIES = ("letters", "closed form", "better than ERM", "best", "gap verdict", "above chance", "disagree")
RELABELLINGS = 400
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
)
"""One thing is moved at a time about six methods, three seeds and groups of 40, 60 and 400."""

POWER: tuple[World, ...] = tuple(
    replace(World(methods=m, seeds=s, by_seed=v), **{change: amount})
    for m, s, v in ((2, 3, 0.0), (6, 3, 0.0), (6, 3, 0.005), (6, 3, 0.01), (6, 5, 0.01), (6, 10, 0.01))
    for change, amount in (("better", 0.01), ("better", 0.02), ("better", 0.05), ("gap", 0.05))
)


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--only", choices=("null", "power"))
    asked = parser.parse_args()
    share = (
        60
        * asked.minutes
        / sum(len(w) for k, w in (("null", NULL), ("power", POWER)) if asked.only in (None, k))
    )
    if asked.only in (None, "null"):
        print(
            f"Null cohorts: percent in which a claim is made\n\n{table(NULL, wrong, asked.cohorts, share)}\n"
        )
    if asked.only in (None, "power"):
        print(
            f"One method differs: percent in which it is seen\n\n{table(POWER, seen, asked.cohorts, share)}"
        )


def table(
    worlds: Sequence[World], of: Callable[[Scores, int], dict[str, bool]], cohorts: int, seconds: float
) -> str:
    """Return a Markdown table of the percent of each world's cohorts in which each thing is true."""
    rows: dict[str, dict[str, str]] = {}
    for world in worlds:
        found = rates(world, of, cohorts, seconds)
        rows[str(world)] = {"cohorts": f"{len(next(iter(found.values())))}"} | {
            name: f"{100 * np.mean(hits):.1f}" for name, hits in found.items()
        }
        print(world, rows[str(world)], file=sys.stderr, flush=True)
    return markdown(pd.DataFrame(rows).T)


def rates(
    world: World, of: Callable[[Scores, int], dict[str, bool]], cohorts: int, seconds: float = np.inf
) -> dict[str, list[bool]]:
    """Return what holds of each of a world's cohorts, as many as are drawn in time, 20 at the least."""
    found: dict[str, list[bool]] = defaultdict(list)
    start = time.perf_counter()
    for cohort in range(cohorts):
        if cohort >= 20 and time.perf_counter() - start > seconds:
            break
        rng = np.random.default_rng([cohort, world.methods, world.seeds])
        for name, hit in of(draw(world, rng), cohort).items():
            found[name].append(hit)
    return found


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
            (contrasts(scores, draws.layouts, known["es_sum"]).together(pairs).p <= ALPHA).any()
        ),
        "better than ERM": bool((es.together(m - 1).p[0, 1:] <= ALPHA).any()),
        "best": bool((apart & (es.difference > 0)).sum(axis=1).max() == m - 1),
        "gap verdict": bool((verdicts.p[0, 1:] <= ALPHA).any()),
        "above chance": bool(above_chance(scores, np.array(of_gaps))["above"].any()),
        "disagree": bool((apart != ((low > 0) | (high < 0))).any()),
    }


def seen(scores: Scores, seed: int) -> dict[str, bool]:
    """Return whether the first method is told from the second in ES and gap, or called equivalent."""
    draws, known = replace(many.errors(scores).draws, seed=seed), quantities(True)
    m = len(scores.methods)
    pairs = m * (m - 1) // 2
    es, gaps = between(draws, "es_sum", known["es_sum"]), between(draws, "gap", known["gap"], 0)
    linear = contrasts(scores, draws.layouts, known["es_sum"])
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
