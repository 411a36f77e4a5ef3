"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import os

# Before torch is imported anywhere: one thread, so that tests run beside each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where a test asks for more, the one that waits for another leaves its core to the other workers.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import durations
import pytest
import torch

from harness import Batch, Output, Task
from harness.plugin.losses import sample_losses


def make_task(**changes) -> Task:
    values = {
        "n_classes": 3,
        "n_features": 8,
        "attribute": "race",
        "groups": ("Asian", "Black", "White"),
        "group_counts": (4, 16, 100),
        "steps": 10,
        "dice_weight": 0.8,
        "n_samples": 120,
    }
    return Task(**(values | changes))


def make_batch(groups: list[int], seed: int = 0) -> tuple[Batch, Output]:
    """A random batch of 3 classes on an 8 x 8 grid, with logits and features that need gradients."""
    rng = torch.Generator().manual_seed(seed)
    size = len(groups)
    logits = torch.randn(size, 3, 8, 8, generator=rng, requires_grad=True)
    features = torch.randn(size, 8, generator=rng, requires_grad=True)
    masks = torch.randint(0, 3, (size, 8, 8), generator=rng)
    batch = Batch(
        images=torch.rand(size, 3, 8, 8, generator=rng),
        masks=masks,
        groups=torch.tensor(groups),
        samples=torch.arange(size),
    )
    return batch, Output(logits, features, sample_losses(logits, masks, 0.8))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers more than cores: a test that waits, for a page or a child, leaves its core to another."""
    return min(8, (os.cpu_count() or 1) + 2)


def pytest_configure(config: pytest.Config) -> None:
    """Keep how long the tests take, once for all workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(durations.Clock(config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start what takes long first where workers share the tests; the order within a file stays."""
    if hasattr(config, "workerinput"):
        durations.long_files_first(items, config.cache.get(durations.KEY, {}))


@pytest.fixture(scope="session")
def server_of_processes() -> None:
    """From here on, processes of tests are forked from one that has imported what they need."""
    import forked

    forked.start_server()


@pytest.fixture
def task() -> Task:
    return make_task()
