"""The equity leaderboard's harness; the names of `__all__` are the plugin author's whole API.

`evaluate` scores predictions of models that were trained elsewhere (docs/predictions.md), and `read_board`
reads a published board (docs/leaderboard-json.md).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness import moved

if TYPE_CHECKING:
    from harness.client import read_board as read_board
    from harness.plugin.losses import cross_entropy, segmentation_loss, soft_dice_loss
    from harness.plugin.method import Batch, Card, Method, Output, Range, Task

    __version__: str

__all__ = [
    "Batch",
    "Card",
    "Method",
    "Output",
    "Range",
    "Task",
    "cross_entropy",
    "segmentation_loss",
    "soft_dice_loss",
]

_LOSSES = ("cross_entropy", "segmentation_loss", "soft_dice_loss")

moved.install()


def __getattr__(name: str) -> Any:
    # Lazy, so that `harness --help` and the leaderboard never pay for (or need) torch.
    if name == "__version__":
        return _version()
    if name == "evaluate":
        # For notebooks, and no part of what a plugin's author is promised. Its module is put together so that
        # no trial's id reaches it: identity follows each name that is written out.
        return importlib.import_module(".".join((__name__, "predictions", "api"))).evaluate
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    home = "harness.plugin.losses" if name in _LOSSES else "harness.plugin.method"
    return getattr(importlib.import_module(home), name)


def _version() -> str:
    # From pyproject.toml alone: a number here would make every trial another one at each release.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("equity-leaderboard")
    except PackageNotFoundError:
        return "unknown"
