"""The state of the global random generators, as one of several streams that take turns in a process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from harness.seeds import seed_everything

State = tuple[Any, ...]


def current(device: torch.device) -> State:
    """Return the state of Python's, numpy's and torch's generators, the device's among them."""
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), on_device  # noqa: NPY002


def restore(state: State, device: torch.device) -> None:
    """Put the generators back to a state."""
    python, numpy, torch_cpu, on_device = state
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002 - a plugin may draw from the legacy generator
    torch.set_rng_state(torch_cpu)
    if on_device is not None:
        torch.cuda.set_rng_state(on_device, device)


class Stream:
    """Random numbers of its own for code that draws from the global generators.

    A method draws the same numbers in the harness's process, where the backbone may draw between two of its
    losses, and in another, where nobody does.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.state = current(device)

    @contextmanager
    def seeded(self, *axes: str | int) -> Iterator[None]:
        """Begin the stream anew from a trial's axes."""
        with self.running():
            seed_everything(*axes)
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the generators go on with this stream inside, and with what they had outside."""
        outside = current(self.device)
        restore(self.state, self.device)
        try:
            yield
        finally:
            self.state = current(self.device)
            restore(outside, self.device)
