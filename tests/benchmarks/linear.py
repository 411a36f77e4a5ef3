"""Time and memory of 1, 4 and 16 times as much of each thing that a board has more of: linear.py [KIND ...]

Each figure is of a fresh process: its processors' seconds, those of its children among them, and the largest
resident set of one process, both beyond what it takes to import. Prints the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
from test_equity_speed import board

import leaderboard
from harness.equity import compare, noise_floor, rank, resample, summarise
from harness.metrics import score_structure

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS), str(TESTS / "leaderboard")]

TIMES = (1, 4, 16)


def table(methods: int = 4, patients: int = 500, resamples: int = 1_000) -> None:
    """Compute all tables of a view."""
    draws = resample(board(methods, 3, patients), resamples=resamples)
    for one in (summarise, noise_floor, compare, rank):
        one(draws)


def scored(samples: int) -> None:
    """Score one structure of each of so many samples of 256 pixels."""
    square = np.zeros((256, 256), bool)
    square[80:180, 90:170] = True
    for _ in range(samples):
        score_structure(square, square.T)


def site(trials: int = 0, samples: int = 120) -> Callable[[], None]:
    """Return what builds the site of a board with three seeds, whose records are written before."""
    from make_records import GROUPS, World, make_store

    methods = ("erm", *(f"m{i}" for i in range((trials or 12) // 3 - 1)))
    folder = Path(tempfile.mkdtemp())
    world = World(methods=methods, attributes=tuple(GROUPS)[:1], structures=("cup",), samples=samples)
    make_store(folder / "runs", world)
    return lambda: leaderboard.build(folder / "runs", folder / "site", images=False)


KINDS: dict[str, tuple[int, Callable[[int], Callable[[], None]]]] = {
    "methods in a table": (4, lambda n: lambda: table(methods=n)),
    "patients in a table": (250, lambda n: lambda: table(patients=n)),
    "resamples of a table": (500, lambda n: lambda: table(resamples=n)),
    "samples that are scored": (50, lambda n: lambda: scored(n)),
    "trials of a site": (12, lambda n: site(trials=n)),
    "test samples of a site": (120, lambda n: site(samples=n)),
}


def used() -> tuple[float, float]:
    """Return processors' seconds and the largest resident set of a process, in MiB."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both), max(one.ru_maxrss for one in both) / 1024


def measured(kind: str, many: int) -> tuple[float, float]:
    """Return the seconds and MiB that so many take in a fresh process."""
    asked = [sys.executable, __file__, "--one", kind, "--many", str(many)]
    return tuple(json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    """Print the table, or measure one of its cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help="all where none is named")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--many", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        work = KINDS[asked.one][1](asked.many)
        before = used()
        work()
        print(json.dumps([now - then for now, then in zip(used(), before, strict=True)]))
        return
    print("| what | 1, 4, 16 times | seconds | MiB |\n| --- | --- | --- | --- |")
    for kind in asked.kinds or KINDS:
        least = KINDS[kind][0]
        seconds, memory = zip(*(measured(kind, least * times) for times in TIMES), strict=True)
        told = (f"{least:,}, {4 * least:,}, {16 * least:,}", *(", ".join(one) for one in (
            [f"{value:.2f}" for value in seconds], [f"{value:.0f}" for value in memory])))  # fmt: skip
        print(f"| {kind} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
