"""A folder of records at the prompt: commands as they are typed, trainings that take no time, and a crash.

The commands, the plan, the commit of a record, tuning, packing, verifying and the board are the real ones;
only what a training would have learned is made up.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import tomli_w
import torch
from click.testing import CliRunner
from tiny import PROTOCOL

from harness.cli import cli
from harness.errors import HarnessError
from harness.running import trial as trials
from harness.running.paths import Paths
from harness.running.plan import Trial
from harness.store import Cost, ProtocolRecord, Store
from harness.training.together import Cards
from harness.training.train import Inputs

NAME = "tiny"
TABLE = PROTOCOL | {
    "cohort": {"source": "synthetic", "size": 16, "samples": 24, "shift": 1.0, "seed": 0},
    "attributes": {"gender": {}},
}
RECIPE = PROTOCOL["recipe"]

PROTOCOLS = {
    "as-it-was": TABLE,
    "one-epoch": TABLE | {"recipe": RECIPE | {"epochs": 1}},
    "one-more-sample": TABLE | {"cohort": TABLE["cohort"] | {"samples": 25}},
    "another-title": TABLE | {"title": "Another title"},
}
"""All under one name."""

METHOD = '''"""A method whose code is edited."""

from torch import Tensor

from harness import Batch, Card, Method, Output, Range, Task


class Mine(Method):
    """A method."""

    card = Card(title="Mine")
    search = {"rate": Range(0.1, 1.0)}

    def __init__(self, task: Task, rate: float = 0.5):
        super().__init__(task)
        self.rate = rate

    def loss(self, batch: Batch, output: Output) -> Tensor:
        return output.losses.mean() * EDIT
'''


class Killed(BaseException):
    """The process is gone."""


class _Crash:
    """Lets no more than so many changes to files below a folder through, and then none at all."""

    def __init__(self) -> None:
        self.below, self.left, self.dead = "", -1, False
        sys.addaudithook(self._seen)  # which can not be taken off again

    @contextmanager
    def after(self, changes: int, below: Path) -> Iterator[None]:
        """Kill what runs at the change that follows so many; -1 lets all through."""
        self.below, self.left, self.dead = str(below), changes, False
        try:
            yield
        finally:
            self.below = ""

    def _seen(self, event: str, args: tuple) -> None:
        if not self.below or self.left < 0:
            return
        writes = event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
        if event == "open" and isinstance(args[2], int):
            writes = bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not writes or not str(args[0]).startswith(self.below):
            return
        if self.left == 0:
            first, self.dead = not self.dead, True
            if first and event == "open" and args[2] & os.O_TRUNC:
                # A process that dies between opening a file and writing it leaves it empty.
                below, self.below = self.below, ""
                Path(args[0]).write_bytes(b"")
                self.below = below
            raise Killed
        self.left -= 1


CRASH = _Crash()


class _Mortal:
    """The command line, which ends where the process is killed."""

    name = "harness"

    def main(self, *args, **kwargs) -> None:
        try:
            cli.main(*args, **kwargs)
        except Killed:
            sys.exit(137)


class _Inline(Executor):
    """Runs at once what it is given, as a worker would."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def submit(self, function, /, *args, **kwargs):
        future: Future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as a worker hands it back
            future.set_exception(error)
        return future


def learned(
    trial: Trial, inputs: Inputs, paths: Paths, device: str, work: Path, cards: Cards
) -> trials.Fitted:
    """Masks and weights that follow from the trial's id."""
    cohort = inputs.cohort
    rng = np.random.default_rng(int(trial.id, 16))
    truth = np.asarray(cohort.masks[cohort.rows("test")])
    labels = np.where(rng.random(truth.shape) < 0.2, 0, truth).astype(np.uint8)
    state = {"weight": torch.from_numpy(rng.random(4))}
    recipe = trial.protocol.recipe
    epochs = recipe.finetune.epochs if trial.starts_from else recipe.epochs
    curve = [(epoch, "loss", "", "", 0.5) for epoch in range(epochs)]
    return trials.Fitted(labels, curve, Cost(fit_seconds=0.1, device="cpu"), state)


@contextmanager
def trained_at_once() -> Iterator[None]:
    """Let commands train in no time, in this process."""

    def run(trial: Trial, paths: Paths, device: str) -> str:
        return trials.run(trial, paths, device, train=learned)

    executor = "harness.running.executors.local.LocalExecutor"
    with patch(executor, _Inline), patch("harness.running.trial.run_logged", run):
        yield


@dataclass(frozen=True)
class Kept:
    """What a folder holds that a person would miss.

    records: trial to its files' digests, of those that are done; cells: (board, its digest, method, seed), of
    boards and of those that were set aside, to whether the trial there is done; controls: (board, method) to
    the method that it is a twin of; aside: methods of boards that were set aside; tries: (file, method) to
    what was tried; withdrawn: (board, method); shown: methods of the site; packed: file to bytes.
    """

    records: dict[str, dict[str, str]]
    cells: dict[tuple[str, str, str, int], bool]
    controls: dict[tuple[str, str], str]
    aside: frozenset[str]
    tries: dict[tuple[str, str], list]
    withdrawn: frozenset[tuple[str, str]]
    shown: frozenset[str]
    packed: dict[str, bytes]


class Prompt:
    """A folder in which commands are typed."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.runs, self.site = folder / "runs", folder / "site"
        for name, table in PROTOCOLS.items():
            (folder / f"{name}.toml").write_text(tomli_w.dumps(table))
        self.write_method(1)

    def write_method(self, edit: int) -> None:
        """Edit the method's file."""
        (self.folder / "mine.py").write_text(METHOD.replace("EDIT", str(edit)))

    def type(self, *words: str, dies_after: int = -1) -> tuple[int, str]:
        """Type a command; return its exit status, -9 where it was killed, and all that it said."""
        with trained_at_once(), CRASH.after(dies_after, self.folder):
            result = CliRunner().invoke(_Mortal(), list(words))
        error = result.exception
        if CRASH.dead:
            return -9, result.output
        if isinstance(error, HarnessError):
            return 1, f"{result.output}{error}"
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return result.exit_code, result.output

    def boards(self) -> Iterator[tuple[str, ProtocolRecord]]:
        """Yield the boards that are here and those that were set aside, by key."""
        for folder in ("protocols", "archive"):
            for path in sorted((self.runs / folder).glob("*/protocol.json")):
                if not path.parent.name.startswith("."):
                    yield path.parent.name, ProtocolRecord.model_validate_json(path.read_bytes())

    def kept(self) -> Kept:
        """Return what is there now; raises for a file that is not whole."""
        store = Store(self.runs)
        records = {one: store.record(one) for one in store.ids()}
        done = {name: one.files for name, one in records.items() if one.status == "done"}
        cells: dict[tuple[str, str, str, int], bool] = {}
        controls, withdrawn = {}, set()
        for key, board in self.boards():
            for row in board.plan:
                cell = key, board.digest, row.method, row.seed
                cells[cell] = cells.get(cell, False) or row.trial in done
                controls[key, row.method] = row.control_of
            withdrawn |= {(key, one.method) for one in board.withdrawn}
        aside = {
            row["method"]
            for path in (self.runs / "archive").glob("*/protocol.json")
            for row in json.loads(path.read_text())["plan"]
        }
        tries: dict[tuple[str, str], list] = {}
        for path in sorted((self.runs / "tuning").glob("*.json")):
            found = json.loads(path.read_text())
            for name, one in found["methods"].items():
                all_of_it = [*found["earlier"].get(name, ()), one]
                tries[path.name, name] = [tried for each in all_of_it for tried in each["tries"]]
        site = self.site / "leaderboard.json"
        shown = json.loads(site.read_text())["protocols"] if site.is_file() else []
        sections = [section for one in shown for section in one["sections"]]
        return Kept(
            done,
            cells,
            controls,
            frozenset(aside),
            tries,
            frozenset(withdrawn),
            frozenset(one["method"] for section in sections for one in section["methods"]),
            {path.name: path.read_bytes() for path in self.folder.glob("*.zip")},
        )
