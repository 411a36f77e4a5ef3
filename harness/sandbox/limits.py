"""What a sandboxed trial may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MB = 1_000_000
GB = 1_000 * MB


@dataclass(frozen=True)
class Limits:
    """Bytes, seconds and counts; a trial that goes beyond one is ended and says which.

    memory: of all processes together, no swap; temporary: of /tmp, the only place to write; shared: of
    /dev/shm; seconds: wall clock, None for what follows from the baseline's time; reckoned: how that was
    reckoned, in words; step: seconds in which a method answers a batch; state: bytes that it may want to go
    on from; processes: and threads; log: what may be printed, of which the last `LOG_KEPT` bytes are kept.
    """

    memory: int = 8 * GB
    temporary: int = 2 * GB
    shared: int = 256 * MB
    seconds: float | None = None
    reckoned: str = ""
    step: float = 60.0
    state: int = 256 * MB
    processes: int = 256
    log: int = 64 * MB


LOG_KEPT = 1 * MB

TIMES_BASELINE = 10
"""How much longer than the baseline's longest training a trial may take."""

AT_LEAST = 600.0
"""Seconds that every trial has: a container takes some to start, whatever is trained in it."""

WITHOUT_BASELINE = 24 * 3600.0
"""Seconds of a trial where the baseline has not run here."""


def seconds_from(seconds: Sequence[float]) -> float:
    """Return the seconds that a trial may take, from those of the baseline's trainings here."""
    return max(AT_LEAST, TIMES_BASELINE * max(seconds)) if seconds else WITHOUT_BASELINE
