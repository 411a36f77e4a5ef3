"""How long each test took when it last ran: long files start first, and `make check` fits into its minute."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

KEY = "harness/durations"
"""Where pytest's cache keeps them: seconds by the test's id."""

SLOW, UNKNOWN = 60.0, 0.2
"""Seconds of a test that never ran here, marked as one of `LONG` or not."""

LONG = ("slow", "docker", "slurm", "ray")
"""Marks of tests that take long, or whose fixtures do: in a fresh clone they would be started last."""


FIRST = (
    *("tests/test_cli.py", "tests/check/test_check.py", "tests/running/test_trial.py"),
    *("tests/browser/test_board.py", "tests/training/test_room.py", "tests/running/test_cards.py"),
    *("tests/store/test_damage.py", "tests/sandbox/test_sides.py", "tests/test_identity_edits.py"),
)
"""Files of half a minute and more: where nothing has run yet, their names tell what to begin with."""

LONG_FILE = 10.0
"""Seconds of a test in one of these that never ran here."""


class Clock:
    """Adds up what each test took, setup and teardown included, and keeps it for the next run."""

    def __init__(self, config: pytest.Config) -> None:
        self.cache = config.cache
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        found = {name: round(seconds, 2) for name, seconds in self.seconds.items()}
        self.cache.set(KEY, self.cache.get(KEY, {}) | found)


def long_files_first(items: list[pytest.Item], known: dict[str, float]) -> None:
    """Order files by how long they take, longest first: one that starts last would keep a worker waiting."""
    total: defaultdict[str, float] = defaultdict(float)
    for item in items:
        guess = LONG_FILE if item.nodeid.startswith(FIRST) else UNKNOWN
        guess = SLOW if any(map(item.get_closest_marker, LONG)) else guess
        total[str(item.path)] += known.get(item.nodeid, guess)
    items.sort(key=lambda item: -total[str(item.path)])
