"""Names by which others find something of the harness: modules as 0.1 called them, and `read_board`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOVED = {
    "harness.display": "harness.commands.display",
    "harness.embed": "harness.training.embed",
    "harness.executors": "harness.running.executors",
    "harness.executors.local": "harness.running.executors.local",
    "harness.fit": "harness.training.fit",
    "harness.losses": "harness.plugin.losses",
    "harness.method": "harness.plugin.method",
    "harness.plan": "harness.running.plan",
    "harness.plugins": "harness.plugin.discovery",
    "harness.predict": "harness.training.predict",
    "harness.records": "harness.store",
    "harness.score": "harness.metrics.score",
    "harness.sources": "harness.identity",
    "harness.trial": "harness.running.trial",
    "harness.tune": "harness.running.tune",
    "harness.weights": "harness.backbones.weights",
}
"""Old name of a module to the one that it has now."""


class _Moved(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        # The importer hands out what stands under the name afterwards: one module, never a copy.
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def read_board(where: str | Path) -> pd.DataFrame:
    """Read a published board into a frame; `harness.client.read_board` says which, and how."""
    # By a name that is put together: identity follows each that is written out, and this is reached by all.
    frame: pd.DataFrame = importlib.import_module(".".join(("harness", "client"))).read_board(where)
    return frame


def install() -> None:
    """Let the old names be imported, and `harness.read_board`.

    That one is put there from here because what `harness/__init__.py` says is in every trial's id, and
    whoever reads a board trains nothing.
    """
    vars(sys.modules[__package__])["read_board"] = read_board
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        # First: in an old package's folder, the new one's, Python would find its modules a second time.
        sys.meta_path.insert(0, _Moved())
