"""Where a run reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where a run reads and writes: records, the cohort's own files, the cache."""

    runs: Path
    data: Path | None
    cache: Path

    def absolute(self) -> Paths:
        """Return the same places wherever this process may be moved to."""
        data = None if self.data is None else self.data.absolute()
        return Paths(self.runs.absolute(), data, self.cache.absolute())
