"""Workers and runs killed at seeded moments, two runs on one store: benchmarks/chaos.py [TRIALS] [SEED].

Each kill waits for a trial that is where it is to hit: left to chance, nearly all would hit the training. The
same trials run once in peace. Then every record must be there once, of the same bytes, and no other file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

from harness.running.queue import TRIES, read_progress
from harness.running.status import Running, under_way
from harness.store import Store, files, names

TABLE = {
    "name": "chaos",
    "title": "Chaos",
    "ranked_by": "cup",
    "cohort": {"source": "synthetic", "size": 16, "samples": 24, "shift": 1.0, "seed": 0},
    "split": {"test": 0.4},
    "structures": {"cup": [2], "rim": [1], "disc": [1, 2]},
    "attributes": {"race": {}, "gender": {}},
    "backbone": {"name": "sam", "variant": "tiny", "adapt": "full"},
    "recipe": {
        "epochs": 8,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "augmentation": "flip",
        "finetune": {"epochs": 1, "learning_rate": 1e-4},
    },
}

PLUGIN = """
from harness import Card, Method, segmentation_loss
from harness.training import checkpoint, fit
checkpoint.KEEP_SECONDS, checkpoint.KEEP_SHARE, fit.CHECKPOINT_SECONDS = 0.0, 1e9, -1.0

class Written(Method):
    card = Card(title="A checkpoint after each epoch")

    def loss(self, batch, output):
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""

STAGES = ("starting", "training", "checkpoint", "predicting", "scoring", "commit")
"""Where in a trial's life a kill is to hit; the two short ones of the disk are told by what lies there."""

PER_SEED = 6
"""ERM, its twin, FEBS from it under two attributes, and what writes a checkpoint each epoch, under two."""

WORDS = ("run", "written.py", "febs", "--protocol", "chaos.toml", "--cache", "cache", "--jobs", "2")


@dataclass
class Found:
    """What came of it: kills by what was hit and when, how many trials went on, what was wrong."""

    trials: int
    kills: Counter = field(default_factory=Counter)
    stages: Counter = field(default_factory=Counter)
    hits: Counter = field(default_factory=Counter)
    """How often each trial's worker was killed."""
    left: set[Path] = field(default_factory=set)
    """What the dead were writing: whoever runs their trials next is not at it."""
    resumed: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)
    exits: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def prepare(folder: Path, seeds: int) -> None:
    """Write the protocol and the method."""
    (folder / "chaos.toml").write_text(tomli_w.dumps(TABLE | {"seeds": list(range(seeds))}))
    (folder / "written.py").write_text(PLUGIN)


def start(folder: Path, runs: str) -> subprocess.Popen:
    """Start a run, in a group of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "harness", *WORDS, "--runs", runs]
    with (folder / f"{runs}.out").open("ab") as out:
        return subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True)


def chaos(folder: Path, seeds: int, seed: int, share: float = 0.5) -> Found:
    """Run in peace and in chaos; `share`: kills to trials."""
    prepare(folder, seeds)
    began = time.monotonic()
    peace = start(folder, "peace")
    assert peace.wait() == 0, (folder / "peace.out").read_text()
    in_peace = time.monotonic() - began
    found = Found(seeds * PER_SEED)
    rng, between = random.Random(seed), in_peace / found.trials / share
    runners = [start(folder, "chaos") for _ in range(2)]
    began, store = time.monotonic(), Store(folder / "chaos")
    # The first moments are the runs' own: what they import is no trial's life.
    next_kill, wanted = began + in_peace / found.trials, list[str]()
    try:
        while any(one.poll() is None for one in runners) or any(one.returncode for one in runners):
            time.sleep(0.01)
            if said := _start_again(folder, runners):
                found.wrong.append(said)
                return found
            to_come = len(wanted) + sum(found.kills.values()) < found.trials * share
            if to_come and time.monotonic() >= next_kill:
                next_kill = time.monotonic() + rng.uniform(0, 2 * between)
                wanted.append(rng.choice(STAGES))
            if wanted and (hit := _kill(store, runners, rng, found, wanted)):
                wanted.remove(hit)
    finally:
        for one in runners:
            one.kill()
    found.exits, found.seconds = [one.returncode for one in runners], (in_peace, time.monotonic() - began)
    _compare(folder, found)
    return found


def _start_again(folder: Path, runners: list[subprocess.Popen]) -> str:
    """Start the runs that were killed again; return what one said that ended by itself and not well."""
    for place, one in enumerate(runners):
        if (one.poll() or 0) > 0:
            said = "\n".join((folder / "chaos.out").read_text().splitlines()[-20:])
            return f"a run ended with status {one.returncode}:\n{said}"
        if one.returncode:
            runners[place] = start(folder, "chaos")
    return ""


def _kill(
    store: Store, runners: list[subprocess.Popen], rng: random.Random, found: Found, wanted: list[str]
) -> str:
    """Kill a worker that is where one is to be hit, or its run, or both; return where, "" where none is.

    None that would be its trial's fourth: that is a failed record, as it has to be.
    """
    workers = [one for one in under_way(store) if one.alive and found.hits[one.trial] < TRIES - 1]
    there = {_stage(store, one, found.left): one for one in workers}
    alive = [one for one in runners if one.poll() is None]
    hit = next((stage for stage in wanted if stage in there), "")
    if not hit or not alive:
        return ""
    what = rng.choices(("worker", "run", "both"), (8, 1, 1))[0]
    for one in workers if what == "both" else [there[hit]] if what == "worker" else ():
        _hit(store, one, found)
    if what != "worker":
        _end(rng.choice(alive).pid)
    found.kills[what] += 1
    return hit


def _hit(store: Store, one: Running, found: Found) -> None:
    found.stages[_stage(store, one, found.left)] += 1
    found.hits[one.trial] += 1
    _end(one.process)
    found.left |= {path for paths in _writing(store, one.trial).values() for path in paths}


def _stage(store: Store, one: Running, left: set[Path]) -> str:
    """Return what a trial is at: what it says, or the writing that it is seen in, which no dead one left."""
    for what, paths in _writing(store, one.trial).items():
        if paths - left:
            return what
    return read_progress(store, one.trial)["stage"]


def _writing(store: Store, trial: str) -> dict[str, set[Path]]:
    """Return the folders that are being filled, for a trial's record and for its checkpoint."""
    found: dict[str, set[Path]] = {"commit": set(), "checkpoint": set()}
    for what, place, start in (
        ("commit", store.path(trial).parent, f".{trial}."),
        ("checkpoint", store.claim(trial).parent, f".{names.CHECKPOINT}"),
    ):
        with contextlib.suppress(OSError):
            found[what] = {path for path in place.iterdir() if path.name.startswith(start)}
    return found


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _compare(folder: Path, found: Found) -> None:
    peace, store = Store(folder / "peace"), Store(folder / "chaos")
    if store.ids() != peace.ids() or len(store.ids()) != found.trials:
        found.wrong.append(f"{len(store.ids())} records instead of {found.trials}")
    for trial in set(store.ids()) & set(peace.ids()):
        for name in (names.PREDICTIONS, names.SCORES, names.CURVE):
            if _digest(store.path(trial) / name) != _digest(peace.path(trial) / name):
                found.wrong.append(f"{trial}: {name} has other bytes")
        log = store.log(trial)
        found.resumed += "The training goes on after epoch" in log
    places = (folder / "chaos", folder / "cache")
    left = [str(path) for root in places for path in root.rglob("*") if path.name.endswith(files.PART)]
    left += [str(path) for path in (folder / "chaos" / "work").iterdir()]
    found.wrong += [f"left over: {path}" for path in left]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"


def main(trials: int = 200, seed: int = 0) -> int:
    """Print what came of it."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        found = chaos(Path(folder), -(-trials // PER_SEED), seed)
    peace, after = found.seconds
    print(f"{found.trials} trials, seed {seed}: {peace:.0f} s in peace, {after:.0f} s in chaos")
    print(f"killed: {dict(found.kills)}; the trials that were hit were at {dict(found.stages)}")
    print(f"{found.resumed} went on from a checkpoint; the runs ended with {found.exits}")
    print("\n".join(found.wrong) or "every record once, with the same bytes; nothing else is left")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
