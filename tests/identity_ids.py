"""Print the ids that edited copies of the tree give their trials: one line of JSON an edit, read from stdin.

Run as a script, so that no harness is imported here: each copy's is, in a process forked for it, which
inherits what is slow to import (torch and the other libraries).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy  # noqa: F401
import pandas  # noqa: F401
import pyarrow  # noqa: F401
import pydantic  # noqa: F401
import scipy.ndimage
import scipy.spatial  # noqa: F401
import timm  # noqa: F401
import torch  # noqa: F401

PROTOCOL: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny",
    "ranked_by": "cup",
    "seeds": [0],
    "cohort": {"source": "synthetic", "size": 64, "samples": 48, "shift": 1.0, "seed": 0},
    "split": {"test": 0.4},
    "structures": {"cup": [2], "rim": [1], "disc": [1, 2]},
    "attributes": {"race": {}},
    "backbone": {"name": "unet", "adapt": "full"},
    "recipe": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "augmentation": "flip"},
}
FROZEN = PROTOCOL | {"backbone": {"name": "sam", "variant": "tiny", "adapt": "frozen"}}
CHOSEN = PROTOCOL | {
    "split": {"test": 0.4, "validation": 0.25},
    "recipe": PROTOCOL["recipe"] | {"selection": "best-validation"},
}


def ids(tree: Path, cache: Path) -> dict[str, str]:
    """The id of every trial of three small protocols, and the digest of what scores depend on."""
    sys.path[:0] = [str(tree), str(tree / "elsewhere")]
    from harness import identity, protocol
    from harness.running.prepare import prepare
    from harness.running.scoring import scoring_identity
    from harness.running.trial import Paths

    def of(name: str, table: dict[str, Any], *methods: str) -> dict[str, str]:
        prepared = prepare(
            protocol.parse(table, "tiny.toml"), methods, Paths(cache / "runs", None, cache), "tiny.toml"
        )
        assert not prepared.broken, prepared.broken
        found = {f"{name} {row.method}": row.trial for row in prepared.plan.rows}
        scores = scoring_identity(prepared.basis)
        return found | ({"scores": identity.trial_id(scores)} if name == "unet" else {})

    mine = str(tree / "elsewhere" / "mine.py")
    return (
        of("unet", PROTOCOL, "erm", "groupdro", "febs", mine)
        | of("frozen", FROZEN, "erm")
        | of("chosen", CHOSEN, "erm")
    )


def main() -> None:
    for line in sys.stdin:
        tree, cache = map(Path, json.loads(line))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.dup2(2, 1)
            try:
                said = ids(tree, cache)
            except BaseException as error:  # noqa: BLE001 - told to the test, which fails with it
                traceback.print_exc()
                said = {"error": repr(error)}
            with os.fdopen(writer, "w") as stream:
                json.dump(said, stream)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            print(stream.read(), flush=True)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
