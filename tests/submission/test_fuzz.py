"""Altered submissions: refused or verified, in one sentence; none with another score; memory stays small.

MUTANTS=20000 python -m pytest -s -m slow tests/submission/test_fuzz.py      20,000 of them, with a table
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mutants import mutant

from harness.errors import HarnessError
from harness.plugin import discovery
from harness.store import SCORES
from harness.submission import agreement, archive
from harness.submission.verify import verify

MANY = int(os.environ.get("MUTANTS") or 4_000)
"""Mutants of the long test: each takes 25 ms."""

NUMBERS = [name for name in SCORES if name not in ("sample", "structure")]


def outcome(place, world, true: set[bytes]) -> str:
    """Whether a file was refused, failed or verified: with the scores that are true, or this fails."""
    try:
        report = verify(archive.read(place), world.yardstick)
        said = [one.why for one in report.findings]
    except HarnessError as error:
        report, said = None, [str(error)]
    assert not [one for one in said if "\n" in one or not one.isprintable()]
    if report is None:
        return "refused"
    if report.failed:
        return "failed"
    assert scores(report.parsed) == true
    return "verified"


def scores(parsed) -> set[bytes]:
    """The scores of each trial, whatever its id."""
    return {np.round(one.scores[NUMBERS].to_numpy(float), 9).tobytes() for one in parsed.values()}


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """What is the same for nearly all mutants is computed once: scores of predictions, titles of methods."""
    known, real = {}, agreement.recompute

    def recompute(labels, yardstick):
        key = hashlib.sha256(labels.tobytes()).digest()
        if key not in known:
            known[key] = real(labels, yardstick)
        return known[key]

    titles, shipped = discovery.titles(), discovery.shipped()
    monkeypatch.setattr(agreement, "recompute", recompute)
    monkeypatch.setattr(discovery, "titles", lambda: titles)
    monkeypatch.setattr(discovery, "shipped", lambda: shipped)


def fuzzed(world, folder, count: int) -> Counter:
    honest, found = world.submission, Counter()
    true = scores(verify(honest, world.yardstick).parsed)
    for seed in range(count):
        if seed % 1000 == 0:
            print(seed, flush=True)
        made = mutant(honest, seed)
        (folder / "x.zip").write_bytes(made.raw)
        try:
            found[made.kind, outcome(folder / "x.zip", world, true)] += 1
        except BaseException:
            print(f"the mutant of seed {seed}: {made.kind}")
            raise
    return found


def held(what: str) -> int:
    """A line of the kernel's account of this process's memory, in KiB."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(what))
    return int(line.split()[1])


def test_no_altered_submission_ends_in_a_traceback_or_with_another_score(world, tmp_path):
    found = fuzzed(world, tmp_path, 200)
    assert found.total() == 200
    # What nobody compares (a log, the words about the machine) may be another; most may not.
    assert sum(count for (_, became), count in found.items() if became == "verified") < 40
    assert {became for _, became in found} == {"refused", "failed", "verified"}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nor_does_one_of_thousands(world, tmp_path):
    # Of this test alone: others of this process may have held more.
    Path("/proc/self/clear_refs").write_text("5")
    before, began = held("VmRSS"), time.process_time()
    found = fuzzed(world, tmp_path, MANY)
    peak = held("VmHWM")
    for (kind, became), count in sorted(found.items()):
        print(f"{kind:12} {became:9} {count:6}")
    spent = time.process_time() - began
    print(f"{spent:.0f} s of CPU, at most {peak / 1024:.0f} MiB, {before / 1024:.0f} before")
    assert found.total() == MANY
    # A verifier with its libraries holds half a GiB before it reads anything.
    assert peak - before < 1 << 19
