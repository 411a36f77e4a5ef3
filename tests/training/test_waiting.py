"""A step never has the host wait for the device: nothing comes back, and what goes there is not waited for.

Tensors of the kind "meta" stand for a GPU's: they have no values, so that whoever asks for one is refused,
and a copy to them can be told from one that stays. That a real GPU agrees is a test of its own.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import needs
import numpy as np
import pytest
import torch
from asking import RECIPE, told
from conftest import make_task
from tiny import parse
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness import backbones
from harness.plugin import declared, discovery
from harness.plugin.asks import PLAIN, Asks
from harness.training import optimiser, side
from harness.training.checkpoint import Checkpoint
from harness.training.feed import Feed
from harness.training.job import Job, Schedule
from harness.training.step import take

DEVICE = torch.device("meta")
SAMPLES, BATCH, SIZE = 12, 4, 64

# Each has a size or a value that the host must know before it goes on.
WAITS = {
    *("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::nonzero", "aten::masked_select"),
    *("aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::equal", "aten::bincount"),
    "aten::repeat_interleave.Tensor",
}


class Waited(AssertionError):
    """The host waited for the device."""


class NoWaiting(TorchDispatchMode):
    """Refuses what a GPU's host would wait for; counts what was brought over without."""

    brought = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.name() == "aten::_pin_memory":
            return args[0]  # this machine need have no GPU to pin for
        there = any(one.device == DEVICE for one in args if isinstance(one, torch.Tensor))
        if func.name() in WAITS and there:
            raise Waited(func.name())
        if func.name() == "aten::_to_copy":
            self._moved(args[0].device, kwargs.get("device"), kwargs.get("non_blocking"))
        if func.name() == "aten::copy_":
            self._moved(args[1].device, args[0].device, args[2] if len(args) > 2 else False)
        if there and func.name().startswith(("aten::index", "aten::_index_put", "aten::_unsafe_index")):
            for one in (at for part in args for at in (part if isinstance(part, (list, tuple)) else [part])):
                if isinstance(one, torch.Tensor) and one.ndim and one.device != DEVICE:
                    raise Waited(f"{func.name()} by an index that the host has")
                if isinstance(one, torch.Tensor) and one.dtype == torch.bool and one is not args[0]:
                    raise Waited(f"{func.name()} by a mask")
        return func(*args, **kwargs)

    def _moved(self, source, target, non_blocking):
        if target is None or source == target:
            return
        if not non_blocking:
            raise Waited(f"a copy from {source} to {target}")
        self.brought += 1


def made(network, size=SIZE, resident=True, asks=PLAIN, method="erm", teacher=None, **changes):
    """A training whose tensors are on the stand-in for a GPU, its samples there too or on the host."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (SAMPLES, size, size, 3), np.uint8)
    masks = rng.integers(0, 3, (SAMPLES, size, size), np.uint8)
    feed = Feed(images, masks, [], np.arange(SAMPLES), DEVICE)
    if resident:
        for table in (feed._images, feed._masks):
            table.resident = torch.from_numpy(table.array).to(DEVICE)
    recipe = RECIPE.model_copy(update={"optimizer": "sgd", "augmentation": "fairseg"} | changes)
    assignment = told(method, recipe=recipe, device=DEVICE, task=make_task(n_features=network.n_features))
    plugin = discovery.find(method)
    return Job(
        side=side.build(discovery.load(plugin), assignment),
        sampler="uniform", backbone=network, feed=feed, recipe=recipe,
        schedule=Schedule.of(recipe, finetunes=False), groups=rng.integers(-1, 3, SAMPLES), codes={}, seed=0,
        name=method, checkpoint=Checkpoint(None), progress=lambda *_: None, asks=asks, teacher=teacher,
    )  # fmt: skip


def sam(**changes):
    protocol = parse(**changes)
    return backbones.build(protocol.backbone, 3, SIZE, None).to(DEVICE).train()


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    """The stand-in has no lower precision."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def step(job):
    optimizer = optimiser.build(
        job.recipe, [{"params": [one for one in job.backbone.parameters() if one.requires_grad]}], 1e-3
    )
    with NoWaiting() as watch:
        taken = take(job, optimizer, np.arange(BATCH), 1, 1.0)
    assert all(one.device == DEVICE for one in vars(taken).values())
    assert any(one.grad is not None for one in job.backbone.parameters())
    return watch.brought


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone": {"name": "sam", "variant": "tiny", "adapt": "lora"}},
        {"backbone": {"name": "sam", "variant": "tiny", "adapt": "full"}, "label_resize": "corner"},
    ],
)
def test_a_step_of_sam_waits_for_nothing(resident, changes):
    wanted = {key: value for key, value in changes.items() if key != "backbone"}
    assert step(made(sam(**changes), resident=resident, **wanted)) > 0


def test_neither_do_slices_a_probe_and_a_teacher():
    sliced = made(sam())
    sliced.most = 2
    step(sliced)
    step(made(sam(), asks=replace(PLAIN, radius=0.05)))
    step(made(sam(), asks=Asks(taught=True), teacher=sam().eval()))


def losses():
    """The shipped methods that are a loss, by name."""
    found = {name: declared.of(discovery.load(one), one) for name, one in discovery.discover().items()}
    return sorted(name for name, about in found.items() if not about.trains_own_model)


@pytest.mark.parametrize("method", losses())
def test_neither_does_a_shipped_method(method):
    job = made(sam(), method=method)
    if method == "lisa":
        job.asks = Asks(mixes=True)
        job.side.method.chance = 1.0
    if method == "distillation":
        job.asks, job.teacher = Asks(taught=True), sam().eval()
    assert step(job) > 0


class Asked(nn.Module):
    """A network whose forward asks the device for something."""

    n_features = 3

    def __init__(self, ask):
        super().__init__()
        self.layer, self.ask = nn.Conv2d(3, 3, 1), ask

    def encode(self, images):
        return (self.layer(images),)

    def decode(self, maps):
        self.ask(maps[0])
        return maps[0], maps[0].mean((2, 3))


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: x.unique(),
        lambda x: x.detach().cpu(),
        lambda x: x + torch.ones(SIZE).to(x.device),
        lambda x: x[torch.arange(2)],
        lambda x: (x > 0).nonzero(),
    ],
)
def test_whatever_would_wait_is_noticed(ask):
    with pytest.raises(Waited):
        step(made(Asked(ask).to(DEVICE)))
    step(made(Asked(lambda x: x.sum()).to(DEVICE)))


@pytest.mark.gpu
@needs.unless(torch.cuda.is_available(), "no CUDA device", "`nvidia-smi` has to list a card")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_gpu_says_so_too(monkeypatch, optimizer):
    monkeypatch.undo()
    monkeypatch.setattr(f"{__name__}.DEVICE", torch.device("cuda"))
    job = made(sam(), optimizer=optimizer)
    rule = optimiser.build(job.recipe, [{"params": list(job.backbone.parameters())}], 1e-3)
    take(job, rule, np.arange(BATCH), 0, 1.0)  # the first one sets up what the others find
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        take(job, rule, np.arange(BATCH), 1, 1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
