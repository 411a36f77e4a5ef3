"""Small sites, built once for all tests that only read them."""

from __future__ import annotations

import pytest
from make_records import Site, World, shared_site

from harness.store import BrokenPlugin


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Site:
    """Four methods; one trial failed, one method not run yet, one plugin broken; images shown."""
    world = World(
        attributes=("race",),
        structures=("cup", "disc"),
        seeds=(0, 1),
        samples=200,
        images=True,
        failed=frozenset({("adv", "race", 1)}),
        missing=frozenset({("febs", "race", 0), ("febs", "race", 1)}),
        broken=(BrokenPlugin(name="mine", file="mine.py", error="line 3: invalid syntax"),),
    )
    return shared_site(tmp_path_factory, "small", world)
