"""A ceiling on this process's memory while a stranger's bytes are read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ceiling(more: int) -> Iterator[None]:
    """Let this process take `more` bytes beside what it holds; beyond them whoever asks gets a MemoryError.

    Of Linux alone: elsewhere the system does not count what a process allocates.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    most = _held() + more
    if before[0] != resource.RLIM_INFINITY:
        most = min(most, before[0])
    resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _held() -> int:
    """Return the bytes that this process has allocated, as the kernel counts them against the limit."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
