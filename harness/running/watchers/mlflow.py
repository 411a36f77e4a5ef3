"""A run a trial for MLflow, at MLFLOW_TRACKING_URI or in files below RUNS/mlflow."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from harness.running.watchers.told import Row, Told

if TYPE_CHECKING:
    from harness.running.plan import Trial
    from harness.store import Store

_OTHERS = re.compile(r"[^\w\-. /]")
"""What no name of a metric or a parameter may have."""

_AT_ONCE = 1000
"""Values that MLflow takes in one call."""

_LONGEST = 500
"""Characters of a parameter's value."""


def make(store: Store) -> MlFlow:
    """Return the watcher. The experiment is the protocol, a run of it a trial, found again by its id."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address:
        # Files need no server; MLflow asks for a word that one knows that they get no new features.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        address = (store.root / "mlflow").resolve().as_uri()
    return MlFlow(store, MlflowClient(tracking_uri=address))


class MlFlow(Told):
    """Logs metrics by epoch, hyper-parameters and how a trial ended."""

    def __init__(self, store: Store, client: MlflowClient) -> None:
        super().__init__(store)
        self._client = client
        self._runs: dict[str, str] = {}

    def write(self, trial: Trial, rows: Sequence[Row]) -> None:
        """Log values; what is not finite MLflow's files do not give back, so that it stays out."""
        run, now = self._run(trial), round(1000 * time.time())
        metrics = [
            Metric(_OTHERS.sub("_", name), float(value), now, int(step))
            for name, value, step in rows
            if math.isfinite(value)
        ]
        for first in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(run, metrics=metrics[first : first + _AT_ONCE])

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """Log what the record holds, and how the trial ended; of one that never began there is nothing."""
        super().finished(trial, status, seconds)
        if status in ("done", "failed"):
            self._client.set_terminated(self._run(trial), "FINISHED" if status == "done" else "FAILED")

    def _run(self, trial: Trial) -> str:
        if trial.id not in self._runs:
            self._runs[trial.id] = self._found(trial) or self._created(trial)
        return self._runs[trial.id]

    def _found(self, trial: Trial) -> str | None:
        """Return the run of a trial that an earlier `harness run` began."""
        its_own = f"tags.trial = '{trial.id}'"
        found = self._client.search_runs([self._experiment(trial)], its_own, max_results=1)
        if not found:
            return None
        self._client.set_terminated(found[0].info.run_id, "RUNNING")
        return str(found[0].info.run_id)

    def _created(self, trial: Trial) -> str:
        tags = {"trial": trial.id, "method": trial.plugin.name, "attribute": trial.attribute or ""}
        run = self._client.create_run(self._experiment(trial), run_name=trial.label, tags=tags)
        values = {"seed": trial.seed} | trial.hyper_parameters
        params = [Param(_OTHERS.sub("_", key), str(value)[:_LONGEST]) for key, value in values.items()]
        self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def _experiment(self, trial: Trial) -> str:
        name = trial.protocol.name
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)
