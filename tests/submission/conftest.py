"""One honest submission of a tiny protocol, packed once for all tests."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli_w
from tiny import CPU, PROTOCOL

from harness.plugin import discovery
from harness.plugin.new import write_method
from harness.running import trial
from harness.running.board import write_protocol
from harness.running.prepare import Prepared, prepare
from harness.running.trial import Paths
from harness.store import Store, Tuned
from harness.submission import archive, pack, yardstick
from harness.submission.archive import Submission
from harness.submission.yardstick import Yardstick

# Importing the plugin leaves a trace in the process, and it imports a file of its own.
TRACE = "import os\n\nfrom my_helper import FACTOR\n\nos.environ['MY_METHOD_WAS_IMPORTED'] = '1'\n"


@dataclass(frozen=True)
class World:
    """Where the honest trials ran, what was packed of them, and what it is measured by."""

    folder: Path
    plugin: discovery.Plugin
    prepared: Prepared
    file: Path
    yardstick: Yardstick

    @property
    def paths(self) -> Paths:
        return self.prepared.paths

    @property
    def submission(self) -> Submission:
        return archive.read(self.file)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("submitter")
    table = PROTOCOL | {"attributes": {"race": {}}, "recipe": PROTOCOL["recipe"] | {"epochs": 1}}
    (folder / "tiny.toml").write_text(tomli_w.dumps(table))
    file, _ = write_method("my-method", folder / "methods")
    text = file.read_text()
    file.write_text(text.replace("from torch import Tensor\n", f"from torch import Tensor\n\n{TRACE}"))
    (file.parent / "my_helper.py").write_text("FACTOR = 1\n")
    paths = Paths(folder / "runs", None, folder / "cache")
    measured = yardstick.from_cohort(str(folder / "tiny.toml"), None, paths.cache)
    prepared = prepare(measured.protocol, [str(file)], paths, "tiny.toml")
    for one in prepared.plan.trials.values():
        (prepared.store.work(one.id) / "log.txt").write_text("what the method printed\n")
        assert trial.run(one, paths, CPU) == "done"
    plugin = discovery.find(str(file))
    pack.write(pack.pack(prepared, plugin, "harness run"), folder / "my-method-tiny.zip")
    return World(folder, plugin, prepared, folder / "my-method-tiny.zip", measured)


@pytest.fixture(scope="session")
def submission_of(world):
    """Make the submission of a method under the world's protocol, its trials run below a folder."""

    def make(file: Path, folder: Path, tuned: dict[str, Tuned] | None = None) -> Submission:
        paths = Paths(folder / "runs", None, world.paths.cache)
        prepared = prepare(world.yardstick.protocol, [str(file)], paths, "tiny.toml", tuned=tuned)
        for one in prepared.plan.trials.values():
            assert trial.run(one, paths, CPU) == "done"
        pack.write(pack.pack(prepared, discovery.find(str(file)), "harness run"), folder / "packed.zip")
        return archive.read(folder / "packed.zip")

    return make


@pytest.fixture(scope="session")
def erm_runs(world, tmp_path_factory) -> Path:
    """A board of one method, run here."""
    paths = Paths(tmp_path_factory.mktemp("board"), None, world.paths.cache)
    prepared = prepare(world.yardstick.protocol, ["erm"], paths, "tiny.toml")
    write_protocol(prepared, "harness run erm")
    trial.run(next(iter(prepared.plan.trials.values())), paths, CPU)
    return paths.runs


@pytest.fixture
def board(erm_runs, tmp_path) -> Store:
    """A copy of that board, for a test to change."""
    return Store(shutil.copytree(erm_runs, tmp_path / "runs"))
