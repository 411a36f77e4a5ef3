"""What it costs that a method is in another process, of a step at 512 pixels and batch 48."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from asking import elsewhere, here, told
from conftest import make_task
from tiny import CPU, parse

from harness import backbones
from harness.plugin import discovery
from harness.plugin.method import Batch
from harness.training.augment import draw
from harness.training.feed import Feed
from harness.training.passes import Through

pytestmark = pytest.mark.slow

SIDE, BATCH, SLICE = 512, 48, 4
REPEATS = 5


@pytest.fixture(scope="module", autouse=True)
def forked(server_of_processes):
    """Have the server start before the first process is asked of it."""


@pytest.fixture(scope="module")
def step():
    """Logits, features and masks of the smallest SAM at 512 pixels, and the seconds of both its ways."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
    masks = rng.integers(0, 3, (BATCH, SIDE, SIDE), np.uint8)
    backbone = backbones.build(parse().backbone, 3, SIDE, None).train()
    through = Through(backbone, Feed(images, masks, [], np.arange(BATCH), CPU), bfloat16=False)
    logits, features, targets, seconds = [], [], [], 0.0
    # A few samples at a time, each forward and back once: what a batch takes where memory holds it.
    for start in range(0, BATCH, SLICE):
        began = time.monotonic()
        picks = np.arange(start, start + SLICE)
        made = through.forward(picks, draw("none", SLICE, rng), np.zeros(SLICE, np.int64))
        made.back(torch.ones_like(made.logits), None)
        seconds += time.monotonic() - began
        logits.append(made.logits)
        features.append(made.features)
        targets.append(made.batch.masks)
    return torch.cat(logits), torch.cat(features), torch.cat(targets), seconds


def best(function) -> float:
    """Return the shortest of several times in seconds: the one that other work disturbed least."""
    times = []
    for _ in range(REPEATS):
        began = time.monotonic()
        function()
        times.append(time.monotonic() - began)
    return min(times)


@pytest.mark.parametrize("method", ["erm", "adv", "febs"])
def test_another_process_costs_less_than_a_twentieth_of_a_step(step, method):
    logits, features, masks, seconds = step
    plugin = discovery.find(method)
    groups = torch.arange(BATCH) % 3
    batch = Batch(torch.empty(0), masks, groups, torch.arange(BATCH))
    assignment = told(method, task=make_task(n_features=features.shape[1]))
    mine = here(plugin, assignment)
    near = best(lambda: mine.answer(batch, logits, features, 1.0))
    with elsewhere(plugin) as make:
        theirs = make(assignment)
        far = best(lambda: theirs.answer(batch, logits, features, 1.0))
    sent = (2 * logits.numel() + 2 * features.numel()) * 4 + masks.numel() + 16 * BATCH
    cost, whole = far - near, seconds + near
    print(f"\n{method}: {tuple(logits.shape)} logits, {sent / 1e6:.1f} MB there and back")
    print(f"loss here {1000 * near:.0f} ms, there {1000 * far:.0f} ms")
    print(f"{100 * cost / whole:.2f} % of a step of {whole:.1f} s")
    assert sent < 30e6
    assert cost < 0.05 * whole
