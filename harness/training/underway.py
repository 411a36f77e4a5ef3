"""The groups of the samples that are on their way through a network, for layers that read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_GROUPS: ContextVar[Tensor | None] = ContextVar("groups", default=None)


def groups() -> Tensor:
    """Return the codes of the samples on their way: int64 [B], -1 is unknown.

    Raises RuntimeError where none are: nobody else may ask.
    """
    found = _GROUPS.get()
    if found is None:
        raise RuntimeError("no samples are on their way through the network: ask for groups in its forward")
    return found


@contextmanager
def samples_of(codes: Tensor) -> Iterator[None]:
    """Let `groups` give these codes, int64 [B], inside."""
    before = _GROUPS.set(codes)
    try:
        yield
    finally:
        _GROUPS.reset(before)
