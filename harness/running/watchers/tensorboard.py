"""Losses by epoch, scores and cost of each trial for TensorBoard: `tensorboard --logdir RUNS/tensorboard`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tensorboard.summary import Writer

if TYPE_CHECKING:
    from harness.running.plan import Trial
    from harness.store import Store
from harness.store import names


def make(store: Store) -> TensorBoard:
    """Return the watcher, which writes below the folder of records."""
    return TensorBoard(store)


class TensorBoard:
    """Writes a folder a trial: its loss as the epochs end, and at its end curve, scores and cost."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._told: dict[str, int] = {}

    def begin(self, todo: Sequence[Trial], already: int, slots: int) -> None:
        """Nothing is known yet."""

    def running(self, progress: Sequence[tuple[Trial, dict[str, Any]]]) -> None:
        """Write the losses of the epochs that have ended since."""
        for trial, _ in progress:
            try:
                read = json.loads(self.store.progress(trial.id).with_name(names.EPOCHS).read_bytes())
                new = [(int(epoch), float(loss)) for epoch, loss in read["losses"]]
            except (OSError, ValueError, TypeError, KeyError):
                continue
            told = self._told.get(trial.id, 0)
            self._write(trial, [("loss", loss, epoch) for epoch, loss in new[told:]])
            self._told[trial.id] = max(told, len(new))

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """Write what the record of a trial holds."""
        if status != "done":
            return
        curve, told = self.store.curve(trial.id), self._told.get(trial.id, 0)
        whole: list[list[Any]] = curve.fillna("").to_numpy().tolist()
        rows: list[tuple[str, float, int]] = [
            ("/".join(part for part in (name, attribute, group) if part), value, epoch)
            for epoch, name, attribute, group, value in whole
        ]
        rows = [row for row in rows if row[0] != "loss" or row[2] >= told]
        frame, cost = self.store.scores(trial.id), self.store.record(trial.id).cost
        rows += [(f"dice/{name}", own["dice"].mean(), 0) for name, own in frame.groupby("structure")]
        rows += [(f"cost/{name}", getattr(cost, name), 0) for name in ("fit_seconds", "peak_memory_bytes")]
        self._write(trial, rows)

    def _write(self, trial: Trial, rows: Sequence[tuple[str, float, int]]) -> None:
        if not rows:
            return
        place = self.store.root / "tensorboard" / f"{trial.label.replace('/', ' ')} {trial.id[:8]}"
        writer = Writer(str(place))
        for name, value, step in rows:
            writer.add_scalar(name, float(value), int(step))
        writer.close()
