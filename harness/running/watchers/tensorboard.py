"""Losses by epoch, scores and cost of each trial for TensorBoard: `tensorboard --logdir RUNS/tensorboard`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tensorboard.summary import Writer

from harness.running.watchers.told import Row, Told

if TYPE_CHECKING:
    from harness.running.plan import Trial
    from harness.store import Store


def make(store: Store) -> TensorBoard:
    """Return the watcher, which writes below the folder of records."""
    return TensorBoard(store)


class TensorBoard(Told):
    """Writes a folder a trial."""

    def write(self, trial: Trial, rows: Sequence[Row]) -> None:
        """Write one more file of events."""
        place = self.store.root / "tensorboard" / f"{trial.label.replace('/', ' ')} {trial.id[:8]}"
        writer = Writer(str(place))
        for name, value, step in rows:
            writer.add_scalar(name, float(value), int(step))
        writer.close()
