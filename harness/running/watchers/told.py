"""What a watcher that draws curves is told: each loss as its epoch ends, then all that the record has."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.store import names

if TYPE_CHECKING:
    from harness.running.plan import Trial
    from harness.store import Store

Row = tuple[str, float, int]
"""A quantity, its value and its epoch."""


class Told(ABC):
    """Reads what is new of a trial and hands it to `write`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._epochs: dict[str, int] = {}

    @abstractmethod
    def write(self, trial: Trial, rows: Sequence[Row]) -> None:
        """Write some values of a trial, each one once in a run."""

    def begin(self, todo: Sequence[Trial], already: int, slots: int) -> None:
        """Forget what was told in an earlier run: a trial may be trained anew."""
        self._epochs.clear()

    def running(self, progress: Sequence[tuple[Trial, dict[str, Any]]]) -> None:
        """Write the losses of the epochs that have ended since."""
        for trial, _ in progress:
            try:
                read = json.loads(self.store.progress(trial.id).with_name(names.EPOCHS).read_bytes())
                new = [("loss", float(loss), int(epoch)) for epoch, loss in read["losses"]]
            except (OSError, ValueError, TypeError, KeyError):
                continue
            told = self._epochs.get(trial.id, 0)
            if new[told:]:
                self.write(trial, new[told:])
            self._epochs[trial.id] = max(told, len(new))

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """Write what the record of a trial holds: the rest of its curve, mean Dice a structure, and cost."""
        if status == "done":
            self.write(trial, self._of_record(trial))

    def _of_record(self, trial: Trial) -> list[Row]:
        curve, told = self.store.curve(trial.id), self._epochs.get(trial.id, 0)
        whole: list[list[Any]] = curve.fillna("").to_numpy().tolist()
        rows: list[Row] = [
            ("/".join(part for part in (name, attribute, group) if part), value, epoch)
            for epoch, name, attribute, group, value in whole
        ]
        rows = [row for row in rows if row[0] != "loss" or row[2] >= told]
        frame, cost = self.store.scores(trial.id), self.store.record(trial.id).cost
        rows += [(f"dice/{name}", own["dice"].mean(), 0) for name, own in frame.groupby("structure")]
        rows += [(f"cost/{name}", getattr(cost, name), 0) for name in ("fit_seconds", "peak_memory_bytes")]
        return rows
