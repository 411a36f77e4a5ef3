"""What every worker is forked with: their server imports this, and so reads the harness's code for all."""

from __future__ import annotations

import sys
from pathlib import Path

from harness import identity
from harness.metrics import score
from harness.training import encode


def _networks() -> list[Path]:
    """Return the files of the networks that were imported before this."""
    found = [module for name, module in sys.modules.items() if name.startswith("harness.backbones.")]
    return [Path(module.__file__) for module in found if module.__file__]


# It is kept by its text: a file that changes is read again, so that nothing here can be out of date.
for entries in ([Path(score.__file__)], [Path(encode.__file__), *_networks()]):
    reached = identity.reached(entries)
    identity.code(reached)
    identity.libraries(reached)
