"""Modules under the names that they had in version 0.1: what imports them so still finds them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

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


def install() -> None:
    """Let the old names be imported."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        # First: in an old package's folder, the new one's, Python would find its modules a second time.
        sys.meta_path.insert(0, _Moved())
