"""Who is told of a run while it goes: the terminal, and what a package brings under `harness.watchers`.

An entry point of that group is NAME = "module", whose `make(store)` returns a `queue.Watcher`: `begin` before
the first trial, `running` a few times a second with what is under way, `finished` after each, when its record
with curve and cost is in the store.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.running.plan import Trial
    from harness.running.queue import Watcher
    from harness.store import Store

GROUP = "harness.watchers"

_OWN = {name: f"{__name__}.{name}" for name in ("mlflow", "tensorboard", "wandb")}

_LOG = logging.getLogger(__name__)


def find(name: str) -> Callable[[Store], Watcher]:
    """Return what makes a watcher. Raises HarnessError for a name that there is not, or lacks its library."""
    known = {entry.name: entry.value for entry in entry_points(group=GROUP)} | _OWN
    if name not in known:
        raise HarnessError(f"--watcher {name}: there is no such watcher.{did_you_mean(name, known)}")
    try:
        make: Callable[[Store], Watcher] = importlib.import_module(known[name]).make
    except ModuleNotFoundError as error:
        library = (error.name or name).partition(".")[0]
        raise HarnessError(
            f"--watcher {name}: {library} is not installed; pip install 'equity-leaderboard[{name}]'."
        ) from None
    return make


class Several:
    """Tells the first watcher all there is, and the others too; of those one that fails is left out then."""

    def __init__(self, first: Watcher, *others: Watcher) -> None:
        self._first, self._others = first, list(others)

    def begin(self, todo: Sequence[Trial], already: int, slots: int) -> None:
        """Pass it on."""
        self._first.begin(todo, already, slots)
        self._tell("begin", todo, already, slots)

    def running(self, progress: Sequence[tuple[Trial, dict[str, Any]]]) -> None:
        """Pass it on."""
        self._first.running(progress)
        self._tell("running", progress)

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """Pass it on."""
        self._first.finished(trial, status, seconds)
        self._tell("finished", trial, status, seconds)

    def _tell(self, what: str, *values: Any) -> None:
        for other in list(self._others):
            try:
                getattr(other, what)(*values)
            except Exception as error:  # noqa: BLE001 - no trial is lost for want of a curve on a screen
                self._others.remove(other)
                _LOG.warning("%s: %s: %s; it is told no more.", type(other).__module__, what, error)
