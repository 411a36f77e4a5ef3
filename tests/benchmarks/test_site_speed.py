import time

import pytest
from make_records import GROUPS, World, make_store

import leaderboard

pytestmark = pytest.mark.slow


def seconds(folder, methods):
    """Build the site of so many methods under one attribute and two structures, three seeds each."""
    names = ("erm", *(f"m{i:04}" for i in range(methods - 1)))
    world = World(
        methods=names, attributes=tuple(GROUPS)[:1], structures=("cup", "disc"), seeds=range(3), samples=120
    )
    make_store(folder / "runs", world)
    # Time of the processor: other tests may run beside this one.
    start = time.process_time()
    leaderboard.build(folder / "runs", folder / "site")
    return time.process_time() - start


def test_a_site_of_twice_the_methods_takes_about_twice_as_long(tmp_path):
    # From 41 methods on there are no figures, which would hide what grows.
    few, many = seconds(tmp_path / "few", 60), seconds(tmp_path / "many", 120)
    print(f"60 methods {few:.1f} s, 120 methods {many:.1f} s: {many / few:.2f} times")
    assert many < 3 * few
