"""Very many records: what status, a list and the site of them take: benchmarks/records.py [COUNT].

One board of 100 methods under 20 seeds is simulated, with what the record of a real trial says of itself; the
others are that board again, their tables linked. Each command is a process, of which the peak is its memory.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.store import Record

FIRST = "board000"
METHODS, SEEDS = 100, 20

COMMANDS = {
    "status": ("status",),
    "list trials": ("list", "trials"),
    "show": ("show", "{trial}"),
    "report": ("report", "--out", "site"),
    "gc --dry-run": ("gc", "--dry-run", "--cache", "cache"),
}


def real(folder: Path) -> Record:
    """Return the record of a trial that was trained here."""
    from scale import SMALL, Here, train
    from tiny import CPU, Silent, parse

    from harness.running.paths import Paths
    from harness.running.prepare import prepare
    from harness.running.schedule import execute
    from harness.store import Store

    paths = Paths(folder / "real", None, folder / "cache")
    prepared = prepare(parse(**SMALL, seeds=[0]), ["erm"], paths, "tiny.toml")
    assert execute(prepared, Here(), Silent(), 1, CPU, run_one=train).count("done") == 1
    return Store(paths.runs).records()[0]


def simulate(folder: Path, count: int) -> None:
    """Write a store of so many records, nothing of it brought to the disk."""
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "running")]
    from make_records import World, make_store

    from harness.store import files, names

    like = real(folder)
    methods = ("erm", *(f"m{i:03}" for i in range(METHODS - 1)))
    world = World(
        methods=methods,
        attributes=("race",),
        structures=("cup", "disc"),
        seeds=range(SEEDS),
        samples=120,
        protocol=FIRST,
    )
    files._sync = lambda path: None
    store = make_store(folder / "runs", world)
    said = {
        key: getattr(like, key) for key in ("identity", "scoring", "environment", "provenance", "trained")
    }
    for trial in store.ids():
        own = store.record(trial)
        method = own.method.model_copy(update={"source": like.method.source})
        (store.path(trial) / names.RECORD).write_bytes(
            files.as_json(own.model_copy(update=said | {"method": method}))
        )
    trials = store.ids()
    for number in range(1, max(1, count // len(trials))):
        _again(folder / "runs", trials, f"board{number:03}")


def _again(runs: Path, trials: list[str], name: str) -> None:
    """Write the first board again, under another name and with other ids."""
    others = {trial: hashlib.sha256(f"{name} {trial}".encode()).hexdigest()[:20] for trial in trials}
    _copy(runs / "protocols" / FIRST, runs / "protocols" / name, {FIRST: name} | others)
    for trial, other in others.items():
        _copy(runs / "records" / trial, runs / "records" / other, {FIRST: name, trial: other})


def _copy(folder: Path, target: Path, words: dict[str, str]) -> None:
    """Write a folder again with other words in its JSON; the rest are links."""
    target.mkdir()
    for path in folder.iterdir():
        if path.suffix == ".json":
            text = path.read_text()
            for old, new in words.items():
                text = text.replace(old, new)
            (target / path.name).write_text(text)
        else:
            os.link(path, target / path.name)


def measure(folder: Path, words: tuple[str, ...]) -> tuple[float, float, float]:
    """Return a command's seconds, those of the processors and its most memory in GB."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "harness", *words, "--runs", "runs"]
    with (folder / "out").open("ab") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
    assert status == 0, (folder / "out").read_text()[-2000:]
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def main(count: int = 100_000) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="records-") as place:
        folder = Path(place)
        # In a process of its own: what it holds in memory would count as its children's peak.
        child = multiprocessing.get_context("spawn").Process(target=simulate, args=(folder, count))
        child.start()
        child.join()
        assert child.exitcode == 0
        trials = sorted(path.name for path in (folder / "runs" / "records").iterdir())
        boards = list((folder / "runs" / "protocols").glob("board*"))
        print(f"{len(trials)} records of {len(boards)} boards, {METHODS} methods a board", flush=True)
        for what, words in COMMANDS.items():
            seconds, worked, memory = measure(folder, tuple(one.format(trial=trials[0]) for one in words))
            print(f"{what:20} {seconds:8.1f} s  {worked:8.1f} s of processors  {memory:.2f} GB", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
