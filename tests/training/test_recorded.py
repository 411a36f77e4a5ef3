"""A decoder that is recorded gives the bits of one that is not, and where it cannot it is not used."""

from __future__ import annotations

import functools
from dataclasses import replace

import needs
import numpy as np
import pytest
import taped
import torch
from asking import RECIPE, told
from conftest import make_task
from tiny import CPU, parse
from torch import nn

from harness import backbones
from harness.backbones import sam_decoder
from harness.backbones.backbone import Backbone
from harness.plugin import discovery
from harness.plugin.asks import PLAIN
from harness.plugin.method import Method
from harness.training import recorded, side
from harness.training.checkpoint import Checkpoint
from harness.training.feed import Feed
from harness.training.fit import fit, trained_state
from harness.training.job import Job, Schedule
from harness.training.recorded import Recorded, decoder_of

SAMPLES, SIZE = 22, 64
GPU = torch.device("cuda")


@pytest.fixture
def tapes(monkeypatch):
    return taped.put(monkeypatch)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Let SAM's modules be called, and not what stands for them on a CPU."""
    monkeypatch.setattr(sam_decoder, "_is_tried", lambda device: False)


def network():
    torch.manual_seed(0)
    chosen = parse(backbone={"name": "sam", "variant": "tiny", "adapt": "frozen"})
    return backbones.build(chosen.backbone, 3, SIZE, None)


class Keeps(Method):
    """Looks at the logits of the step before, which it has kept as they were given."""

    def __init__(self, task):
        super().__init__(task)
        self.before = []

    def loss(self, batch, output):
        self.before.append((output.logits.detach(), output.features.detach()))
        old = self.before[-2] if len(self.before) > 1 else self.before[-1]
        return (output.losses * (1 + old[0].mean().abs() + old[1].mean().abs())).mean()


def job(decoded, method=None, **changes):
    """A short training of a tiny SAM's decoder on maps that are at hand; `decoded` makes what decodes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (SAMPLES, SIZE, SIZE, 3), np.uint8)
    masks = rng.integers(0, 3, (SAMPLES, SIZE, SIZE), np.uint8)
    maps = [rng.normal(size=(8, SAMPLES, 256, 4, 4)).astype(np.float16)]
    made = network()
    recipe = RECIPE.model_copy(update={"epochs": 2, "batch_size": 4, "augmentation": "dihedral"} | changes)
    assignment = told("erm", recipe=recipe, task=make_task(n_features=made.n_features))
    return Job(
        side=side.build(method or discovery.load(discovery.find("erm")), assignment),
        sampler="uniform", backbone=made, feed=Feed(images, masks, maps, np.arange(SAMPLES), CPU),
        recipe=recipe, schedule=Schedule.of(recipe, finetunes=False), groups=np.full(SAMPLES, -1), codes={},
        seed=0, name="erm", checkpoint=Checkpoint(None), progress=lambda *_: None, decode=decoded(made),
    )  # fmt: skip


@pytest.fixture
def trained(tmp_path):
    return functools.partial(_trained, tmp_path)


def _trained(folder, one):
    one.checkpoint = Checkpoint(folder / f"{id(one)}.pt")
    done = fit(one)
    return [row[-1] for row in done.curve], trained_state(one.backbone)


def same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(one[1][name], other[1][name]) for name in one[1])


@pytest.mark.parametrize(("method", "precision"), [(None, "float32"), (Keeps, "bfloat16")])
def test_a_recorded_training_ends_with_the_bits_of_a_plain_one(trained, tapes, method, precision):
    plain = trained(job(lambda _: None, method, precision=precision))
    assert not tapes
    found = trained(job(Recorded, method, precision=precision))
    same(found, plain)
    forward, backward = tapes
    # Two epochs of five batches, and twice to see that it gives the same.
    assert (forward.replays, backward.replays) == (12, 12)


def test_so_does_one_of_sharper_steps_and_one_whose_last_batch_is_smaller(trained, tapes):
    def sharper(decoded, **changes):
        one = job(decoded, **changes)
        one.asks = replace(PLAIN, radius=0.05)
        return one

    same(trained(sharper(Recorded)), trained(sharper(lambda _: None)))
    assert tapes[0].replays == 2 * 10 + 2
    same(trained(job(Recorded, last_batch="keep")), trained(job(lambda _: None, last_batch="keep")))
    assert tapes[2].replays == 10 + 2  # the two smaller batches are not among them


def test_in_slices_nothing_is_recorded_that_is_not_shaped_like_it(trained, tapes):
    def sliced(decoded):
        one = job(decoded)
        one.most = 3
        return one

    same(trained(sliced(Recorded)), trained(sliced(lambda _: None)))
    assert tapes[0].replays == 10 + 2  # slices of three; those of one sample are decoded as they are


class Small(Backbone):
    """A decoder of one layer, with something done to its maps; its features may have a layer of their own."""

    n_features = 3

    def __init__(self, do, own=None):
        super().__init__()
        self.layer, self.own, self.do, self.calls = nn.Conv2d(2, 3, 1), own, do, 0

    def encode(self, images):
        return (images[:, :2],)

    def decode(self, maps):
        self.calls += 1
        logits = self.layer(self.do(self, maps[0]))
        return logits, logits.mean((2, 3)) if self.own is None else self.own(maps[0].mean((2, 3)))


@pytest.mark.parametrize(
    ("do", "why"),
    [
        (lambda _, x: x * x.sum().item(), "not permitted when stream is capturing"),
        (lambda own, x: x * own.calls, "gives other numbers"),
    ],
)
def test_what_cannot_be_recorded_runs_as_it_is_and_says_why(tapes, capfd, do, why):
    maps = (torch.rand(4, 2, 3, 3),)
    made = Small(do)
    decode = Recorded(made)
    for _ in range(2):
        found = decode(maps)
        made.calls -= 1
        assert all(map(torch.equal, found, made.decode(maps)))
    (said,) = capfd.readouterr().out.splitlines()
    assert said.startswith("The decoder's kernels are started one by one")
    assert why in said


def test_neither_is_one_used_that_reads_nothing_new(monkeypatch, capfd):
    def stuck(module, first, **_):
        return lambda *maps: module(*first)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", stuck)
    maps = (torch.rand(4, 2, 3, 3),)
    Recorded(Small(lambda _, x: x))(maps)
    assert "gives other numbers" in capfd.readouterr().out


def test_an_error_of_the_decoders_own_is_raised_as_it_is(tapes):
    decode = Recorded(Small(lambda _, x: 1 // 0))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            decode((torch.rand(4, 2, 3, 3),))


def test_weights_that_only_features_reach_get_no_gradient_of_zeros(tapes, capfd):
    # AdamW would let them decay by one, and leaves them where there is none.
    made = Small(lambda _, x: x, nn.Linear(2, 2))
    logits, _ = Recorded(made)((torch.rand(4, 2, 3, 3),))
    logits.sum().backward()
    assert made.own.weight.grad is None
    assert "gives other numbers" in capfd.readouterr().out


def test_a_recording_changes_no_random_number_and_no_gradient(tapes):
    dropout = nn.Dropout()
    made, maps = Small(lambda _, x: dropout(x)), (torch.rand(4, 2, 3, 3),)
    drawn = []
    for decode in (made.decode, Recorded(made)):
        torch.manual_seed(3)
        drawn.append((*decode(maps), torch.rand(2)))
    assert all(map(torch.equal, *drawn))
    assert all(one.grad is None for one in made.parameters())


def test_predictions_are_not_recorded(tapes):
    made = network().eval()
    with torch.no_grad():
        Recorded(made)((torch.rand(4, 256, 4, 4),))
    assert not tapes


def test_where_a_decoder_is_recorded():
    made = network().train()
    assert isinstance(decoder_of(made, GPU, own_layers=False), Recorded)
    assert decoder_of(made, CPU, own_layers=False) is None
    assert decoder_of(made, GPU, own_layers=True) is None
    made.mask_decoder.add_module("norm", nn.BatchNorm2d(3))
    assert decoder_of(made, GPU, own_layers=False) is None


@pytest.mark.gpu
@needs.unless(torch.cuda.is_available(), "no CUDA device", "`nvidia-smi` has to list a card")
def test_a_gpu_records_and_agrees(capfd):
    made = network().to(GPU).train()
    decode = recorded.Recorded(made)
    for seed in range(3):
        maps = (torch.rand(4, 256, 4, 4, generator=torch.Generator().manual_seed(seed)).to(GPU),)
        logits, features = decode(maps)
        plain = made.decode(maps)
        assert torch.equal(logits, plain[0])
        assert torch.equal(features, plain[1])
    assert "one by one" not in capfd.readouterr().out
