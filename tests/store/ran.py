"""A tiny board whose one trial has been run: what the tests of the store write, damage and read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from tiny import CPU, prepare

from harness.plugin import discovery
from harness.plugin.new import write_method
from harness.running import scoring, trial
from harness.running.basis import Basis
from harness.running.paths import Paths
from harness.running.plan import Trial
from harness.running.prepare import Prepared
from harness.store import Store
from harness.submission import archive, pack

COHORT = {"source": "synthetic", "size": 32, "samples": 24, "shift": 1.0, "seed": 0}
SMALL = {"cohort": COHORT, "attributes": {"race": {}}, "seeds": (0,)}
FROZEN = {"cohort": COHORT | {"samples": 12}, "attributes": {"gender": {}}, "augmentation": "none"}
FROZEN |= {"backbone": {"name": "sam", "variant": "tiny", "adapt": "frozen"}}


@dataclass(frozen=True)
class Ran:
    """A board with one finished trial, `fitted` as it came of training, and a submission of it."""

    folder: Path
    prepared: Prepared
    fitted: trial.Fitted
    plugin: discovery.Plugin
    submission: archive.Submission

    @property
    def cache(self) -> Path:
        return self.prepared.paths.cache

    @property
    def one(self) -> Trial:
        (found,) = self.prepared.plan.trials.values()
        return found

    def paths(self, folder: Path) -> Paths:
        return Paths(folder / "runs", None, self.cache)

    def run(self, folder: Path) -> None:
        """Commit the trial as it was trained."""
        store, fitted = Store(folder / "runs"), self.fitted
        trial._commit_done(store, self.one, self.basis, fitted, self.scores, fitted.cost)

    @cached_property
    def basis(self) -> Basis:
        return Basis.of(self.prepared.protocol, self.prepared.cohort, self.cache, "", "")

    @cached_property
    def scores(self) -> pd.DataFrame:
        return scoring.score(self.prepared.protocol, self.prepared.cohort, self.fitted.labels)


def run_in(folder: Path) -> Ran:
    paths = Paths(folder / "runs", None, folder / "cache")
    write_method("my-method", folder / "methods")
    plugin = discovery.find(str(folder / "methods" / "my_method.py"))
    prepared = prepare([str(plugin.file)], paths, **SMALL, epochs=1)
    (one,) = prepared.plan.trials.values()
    kept = []

    def train(one, inputs, _, device, work, cards):
        kept.append(trial.train_here(one, inputs, device, work, lambda *_: None))
        return kept[0]

    assert trial.run(one, paths, CPU, train) == "done"
    packed = folder / "mine.zip"
    pack.write(pack.pack(prepared, plugin, "harness run"), packed)
    return Ran(folder, prepared, kept[0], plugin, archive.read(packed))
