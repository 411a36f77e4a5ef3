"""What of a process a plugin must leave as it found it: global settings, and the seeds of others."""

from __future__ import annotations

import locale
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def snapshot() -> dict[str, Any]:
    """Return the global settings that a plugin must not change, by what a person calls them."""
    return {
        "the default dtype": torch.get_default_dtype(),
        "the grad mode": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "anomaly detection": torch.is_anomaly_enabled(),
        "the precision of matrix products": torch.get_float32_matmul_precision(),
        "the default device": str(torch.get_default_device()),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "numpy's error handling": np.geterr(),
        "the environment": dict(os.environ),
        "the working directory": os.getcwd(),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the recursion limit": sys.getrecursionlimit(),
        "the signal handlers": {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGALRM)},
        "the running threads": sorted(t.name for t in threading.enumerate()),
    }


def difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return a sentence about the first setting that changed, "" if none did."""
    for name, old in before.items():
        new = after[name]
        if new == old:
            continue
        if isinstance(old, dict):
            keys = sorted(str(key) for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            return f"changed {name} ({keys[0]}). Leave it alone: other code in the process relies on it."
        return f"changed {name} from {old} to {new}. Leave it alone, or set it back before returning."
    return ""


def reseeded(act: Callable[[], object]) -> str:
    """Return a sentence if `act` seeds a global generator; drawing from one is allowed.

    Two different seeds lead to two different states after any number of draws, but to the same one
    after a reseeding.
    """
    ends = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the legacy generator is what a plugin may have seeded
        torch.manual_seed(seed)
        act()
        if torch.initial_seed() != seed:
            return _seeded("torch's")
        ends.append((random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()))  # noqa: NPY002
    for name, first, second in zip(("random's", "numpy's", "torch's"), *ends, strict=True):
        if first == second:
            return _seeded(name)
    return ""


def _seeded(name: str) -> str:
    return (
        f"seeds {name} global generator. Draw from it as it is (the harness seeds it anew each epoch), or "
        "from a torch.Generator of your own."
    )
