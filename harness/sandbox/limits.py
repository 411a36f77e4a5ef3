"""What a sandboxed trial may use."""

from __future__ import annotations

from dataclasses import dataclass

MB = 1_000_000
GB = 1_000 * MB


@dataclass(frozen=True)
class Limits:
    """Bytes, seconds and counts; a trial that goes beyond one is ended and says which.

    memory: of all processes together, no swap; temporary: of /tmp, the only place to write;
    shared: of /dev/shm; seconds: wall clock; processes: and threads; log: what may be printed, of which
    the last `LOG_KEPT` bytes are kept.
    """

    memory: int = 8 * GB
    temporary: int = 2 * GB
    shared: int = 256 * MB
    seconds: float = 24 * 3600
    processes: int = 256
    log: int = 64 * MB


LOG_KEPT = 1 * MB
