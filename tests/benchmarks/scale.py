"""A store of many trials: planning, one more, status, list and report: tests/benchmarks/scale.py [TRIALS].

The trainings take no time, so that what is measured is the harness's own.
"""

# ruff: noqa: E402 - the tests' own modules are found once the path says where

from __future__ import annotations

import contextlib
import io
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "running")]

from tiny import CPU, Silent, parse

from harness.running import trial as trials
from harness.running.board import write_protocol
from harness.running.paths import Paths
from harness.running.plan import Trial
from harness.running.prepare import Prepared, prepare
from harness.running.schedule import execute
from harness.running.status import status
from harness.store import Store, files, names

SMALL = {"cohort": {"source": "synthetic", "size": 16, "samples": 24, "shift": 1.0, "seed": 0}}


class Here(Executor):
    """Runs each task at once, in this process."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed over as executors do
            future.set_exception(error)
        return future


class Copying:
    """Ends a trial with a copy of the first one's record; the claim, the commit and its syncs are real."""

    def __init__(self, store: Store, first: str) -> None:
        self.store = store
        self.first = first
        self.rest = {
            name: (store.path(first) / name).read_bytes()
            for name in names.RECORD_FILES
            if name != names.RECORD
        }
        self.record = store.record(first)

    def __call__(self, one: Trial, paths: Paths, device: object) -> str:
        with self.store.claimed(one.id, {"label": one.label}) as own:
            assert own
            trials._await_record(self.store, one.id)
            record = self.record.model_copy(update={"id": one.id, "seed": one.seed})
            with files.writing(self.store.path(one.id)) as folder:
                for name, data in self.rest.items():
                    files.put(folder / name, data)
                files.write_json(folder / names.RECORD, record)
            self.store.clear_work(one.id)
        return "done"


@contextlib.contextmanager
def timed(what: str, count: int, table: list[tuple[str, float, str]]) -> Iterator[None]:
    """Note how long a block took, and of it a processor's time, which no other process stretches."""
    began, worked = time.perf_counter(), time.process_time()
    yield
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    each = f"{1000 * seconds / count:.2f} ms a trial, {1000 * worked / count:.2f} ms of a processor's time"
    table.append((what, seconds, each))


def measure(folder: Path, count: int, reported: bool) -> list[tuple[str, float, str]]:
    """Return what took how long."""
    table: list[tuple[str, float, str]] = []
    paths = Paths(folder / "runs", None, folder / "cache")
    store = Store(paths.runs)
    one = prepare(parse(**SMALL, seeds=[0]), ["erm"], paths, "tiny.toml")
    assert execute(one, Here(), Silent(), 1, CPU, run_one=train).count("done") == 1
    (first,) = one.plan.trials
    with timed("plan", count, table):
        prepared = prepare(parse(**SMALL, seeds=list(range(count))), ["erm"], paths, "tiny.toml")
    assert len(prepared.plan.trials) == count
    with timed("write the board", count, table):
        write_protocol(prepared, "harness run erm")
    with timed("run, a trial at a time", count, table):
        outcome = execute(prepared, Here(), Silent(), 1, CPU, run_one=Copying(store, first))
    assert outcome.count("done") == count
    with timed("run again, all done", count, table):
        assert execute(prepared, Here(), Silent(), 1, CPU).already == count
    with timed("status", count, table):
        (board,) = status(store).boards
    assert board.done == count
    _commands(folder, prepared, count, reported, table)
    return table


def train(one: Trial, paths: Paths, device: object) -> str:
    from commands_at_random import learned

    return trials.run(one, paths, CPU, learned)


def _commands(folder: Path, prepared: Prepared, count: int, reported: bool, table: list) -> None:
    from click.testing import CliRunner

    from harness.cli import cli

    runs = str(prepared.paths.runs)
    commands = {"list trials": ["list", "trials", "--runs", runs]}
    if reported:
        commands["report"] = ["report", "--runs", runs, "--out", str(folder / "site")]
    for what, words in commands.items():
        with timed(what, count, table), contextlib.redirect_stdout(io.StringIO()):
            done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output[-2000:]


def main(count: int = 1000, reported: int = 1) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        table = measure(Path(folder), count, bool(reported))
    for what, seconds, each in table:
        print(f"{what:24} {seconds:9.2f} s  {each}")
    print(
        f"{count} trials; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB of memory at most"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
