"""A batch that memory does not hold: the slice is found, no state is left behind, and nobody is blamed."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import CPU
from torch import nn

from harness import protocol
from harness.backbones.backbone import Backbone
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError, TrialError
from harness.plugin import discovery
from harness.training import fit, room, side
from harness.training.checkpoint import Checkpoint
from harness.training.feed import Feed
from harness.training.fit import trained_state
from harness.training.job import Job
from harness.training.train import Inputs, Setting, job_of

SAMPLES, BATCH, SIDE = 22, 8, 16


class Net(Backbone):
    """Two convolutions on a device that holds the graph of so many samples, and all of them without one."""

    n_features = 4

    def __init__(self, holds: int = BATCH, of: type[BaseException] = torch.cuda.OutOfMemoryError):
        super().__init__()
        self.first, self.last, self.noise = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1), nn.Dropout(0.5)
        self.holds, self.of, self.asked, self.fails_at = holds, of, [], 0

    def encode(self, images):
        if torch.is_grad_enabled():
            self.asked.append(len(images))
            if len(images) > self.holds or len(self.asked) == self.fails_at:
                raise self.of("DefaultCPUAllocator: can't allocate memory")
        return (self.noise(self.first(images).relu()),)

    def decode(self, maps):
        return self.last(maps[0]), maps[0].mean((2, 3))


class Greedy:
    """A method's side whose loss asks for more than there is while the graph of more than so many is held."""

    what = "Greedy.loss"

    def __init__(self, own: side.LossSide, job: Job, beside: int):
        self.own, self.job, self.beside = own, job, beside

    def __getattr__(self, name):
        return getattr(self.own, name)

    def answer(self, *given):
        if (self.job.most or BATCH) > self.beside:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return self.own.answer(*given)


@pytest.fixture(autouse=True)
def tried(monkeypatch):
    monkeypatch.setattr(room, "is_tried", lambda device: True)


def job(net: Net, folder: Path, most: int | None = None, method: str = "adv") -> Job:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (SAMPLES, SIDE, SIDE, 3), np.uint8)
    masks = rng.integers(0, 3, (SAMPLES, SIDE, SIDE), np.uint8)
    subjects = pd.DataFrame({"sample": np.arange(SAMPLES).astype(str), "split": "train"})
    subjects = subjects.assign(patient=subjects["sample"], race=["a", "b"] * (SAMPLES // 2))
    cohort = Cohort("", "", "", False, images, masks, subjects, {"race": ("a", "b")}, "")
    recipe = protocol.Recipe(epochs=2, batch_size=BATCH, learning_rate=1e-2, augmentation="fairseg")
    spec = protocol.BackboneSpec(name="unet")
    setting = Setting(spec, recipe, 3, SIDE, method, {}, "race", 0, finetunes=False, most=most)
    make = functools.partial(side.build, discovery.load(discovery.find(method)))
    folder.mkdir(exist_ok=True)
    kept = Checkpoint(folder / "kept.pt")
    return job_of(setting, make, Inputs(cohort, [], None, None), net, CPU, kept, lambda *_: None, None)


def net(**options) -> Net:
    torch.manual_seed(0)
    return Net(**options)


def weights(one: Job) -> dict[str, torch.Tensor]:
    return trained_state(one.backbone) | {"method": one.side.state()}


@pytest.mark.parametrize("of", [torch.cuda.OutOfMemoryError, MemoryError, RuntimeError])
@pytest.mark.parametrize(("holds", "found"), [(8, 0), (7, 4), (3, 2), (1, 1)])
def test_the_slice_is_halved_until_it_fits(holds, found, of, tmp_path):
    one = job(net(holds=holds, of=of), tmp_path)
    assert fit.fit(one).most == found


def test_what_was_tried_leaves_nothing_behind(tmp_path):
    """The bits are those of a training that had the slice from the start, the method's own weights too."""
    one, other = job(net(holds=3), tmp_path / "a"), job(net(), tmp_path / "b", most=2)
    curves = [fit.fit(each).curve for each in (one, other)]
    assert one.backbone.asked[:3] == [8, 4, 2]
    assert curves[0] == curves[1]
    assert weights(one).keys() == weights(other).keys()
    assert all(torch.equal(weights(one)[key], weights(other)[key]) for key in weights(one))


@pytest.mark.parametrize("holds", [8, 7])
def test_what_decodes_by_a_recording_of_a_whole_batch_is_let_go_with_it(holds, tmp_path):
    one = job(net(holds=holds), tmp_path)
    one.decode = decode = one.backbone.decode
    fit.fit(one)
    assert one.decode == (decode if holds == 8 else None)


def test_a_step_in_the_middle_of_the_first_epoch_may_be_the_one_that_does_not_fit(tmp_path):
    hungry, other = net(), job(net(), tmp_path / "b", most=4)
    hungry.fails_at = 2
    one = job(hungry, tmp_path / "a")
    assert fit.fit(one).most == fit.fit(other).most == 4
    assert all(torch.equal(weights(one)[key], weights(other)[key]) for key in weights(one))


def test_later_it_is_said_and_the_checkpoint_stays(tmp_path):
    hungry = net()
    hungry.fails_at = 4  # two batches an epoch: the second epoch
    with pytest.raises(
        HarnessError, match="adv: the GPU's memory does not hold 8 samples .* --slice auto"
    ) as said:
        fit.fit(job(hungry, tmp_path))
    assert not isinstance(said.value, TrialError)


def test_a_training_goes_on_with_the_slice_that_it_had(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    hungry = net(holds=3)
    one = job(hungry, tmp_path)
    calls = []
    one.side.end = lambda epoch: (
        calls.append(epoch) or (_ for _ in ()).throw(KeyboardInterrupt) if epoch else None
    )
    with pytest.raises(KeyboardInterrupt):
        fit.fit(one)
    again = job(net(holds=3), tmp_path)
    assert fit.fit(again).most == 2
    assert max(again.backbone.asked) == 2


def test_a_slice_that_is_given_is_taken_at_its_word(tmp_path):
    with pytest.raises(
        HarnessError, match=r"does not hold 6 samples of a batch at a time; run again with --slice auto"
    ):
        fit.fit(job(net(holds=5), tmp_path, most=6))


def test_not_even_one_sample(tmp_path):
    with pytest.raises(
        HarnessError, match="does not hold one sample of a batch at a time; precision"
    ) as said:
        fit.fit(job(net(holds=0), tmp_path))
    assert not isinstance(said.value, TrialError)


def test_batch_normalisation_is_not_cut(tmp_path):
    hungry = net(holds=7)
    hungry.norm = nn.BatchNorm2d(4)
    with pytest.raises(HarnessError, match="does not hold a batch of 8, and this backbone trains batch norm"):
        fit.fit(job(hungry, tmp_path))


@pytest.mark.parametrize(("beside", "found"), [(4, 4), (0, None)])
def test_a_loss_may_use_what_the_slices_free_and_is_to_blame_for_more(beside, found, tmp_path):
    one = job(net(), tmp_path, method="erm")
    one.side = Greedy(one.side, one, beside)
    if found is not None:
        assert fit.fit(one).most == found
        return
    with pytest.raises(TrialError, match="erm: its loss over a batch of 8 asks for more than the GPU's"):
        fit.fit(one)


def test_the_feed_leaves_the_card_before_a_batch_is_cut(tmp_path):
    images = np.arange(4 * 3, dtype=np.uint8).reshape(2, 2, 1, 3)
    feed = Feed(images, images[..., 0], [], np.arange(2), CPU)
    before = feed.images(np.array([1]))
    feed._images.resident = torch.from_numpy(images)
    full, one = room.Full("GPU", in_loss=False), job(net(), tmp_path)
    one.feed = feed
    assert room.less(full, one) == 0
    assert torch.equal(feed.images(np.array([1])), before)
    assert room.less(full, one) == 1


def test_which_errors_say_that_memory_is_full():
    says = {
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."): "GPU",
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"): "GPU",
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"): "GPU",
        MemoryError(): "host",
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate"
        ): "host",
        RuntimeError("The size of tensor a (3) must match"): "",
        ValueError("CUDA error: out of memory"): "",
    }
    assert {error: room.lacking(error) for error in says} == says
    with pytest.raises(RuntimeError) as real:
        torch.empty(2**60, dtype=torch.uint8)
    assert room.lacking(real.value) == "host"
    with pytest.raises(MemoryError) as real:
        np.empty(2**60, np.uint8)
    assert room.lacking(real.value) == "host"
    assert json.dumps(room.lacking(KeyError("x"))) == '""'
