"""A run a trial for Weights & Biases: in files below RUNS/wandb, or to its server where WANDB_MODE says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import wandb

from harness.running.watchers.told import Row, Told

if TYPE_CHECKING:
    from harness.running.plan import Trial
    from harness.store import Store


def make(store: Store) -> WeightsAndBiases:
    """Return the watcher, which sends nothing anywhere unless WANDB_MODE is "online"."""
    return WeightsAndBiases(store, os.environ.get("WANDB_MODE") or "offline")


class WeightsAndBiases(Told):
    """Logs values by epoch, hyper-parameters and how a trial ended; the project is the protocol."""

    def __init__(self, store: Store, mode: str) -> None:
        super().__init__(store)
        self._mode: Any = mode
        self._runs: dict[str, Any] = {}

    def write(self, trial: Trial, rows: Sequence[Row]) -> None:
        """Log values by epoch, which is not its own step: that must not go back, and a record's rows do."""
        by_epoch: dict[int, dict[str, float]] = {}
        for name, value, epoch in rows:
            by_epoch.setdefault(int(epoch), {})[name] = float(value)
        for epoch, values in by_epoch.items():
            self._run(trial).log({"epoch": epoch} | values)

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """Log what the record holds, and how the trial ended; of one that never began there is nothing."""
        super().finished(trial, status, seconds)
        if status in ("done", "failed"):
            self._run(trial).finish(exit_code=0 if status == "done" else 1)
            del self._runs[trial.id]

    def _run(self, trial: Trial) -> Any:
        if trial.id not in self._runs:
            self._runs[trial.id] = self._begun(trial)
        return self._runs[trial.id]

    def _begun(self, trial: Trial) -> Any:
        # What the terminal, the machine and the clone say is in the record, as far as it is to be public.
        quiet = wandb.Settings(
            console="off", silent=True, x_disable_stats=True, disable_git=True, save_code=False
        )
        run = wandb.init(
            project=trial.protocol.name,
            id=trial.id,
            name=trial.label,
            dir=str(self.store.root),
            mode=self._mode,
            # Its server knows a trial again by its id; of files, `wandb sync` puts those of an id together.
            resume="allow" if self._mode == "online" else None,
            config={"seed": trial.seed, "attribute": trial.attribute or ""} | trial.hyper_parameters,
            reinit="create_new",
            settings=quiet,
        )
        run.define_metric("*", step_metric="epoch")
        return run
