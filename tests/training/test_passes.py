"""A batch in slices has the gradient of the whole batch; what cannot be sliced is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from asking import asked_by, here, told
from conftest import make_task
from tiny import CPU, parse
from torch import nn

from harness import backbones
from harness.backbones.backbone import Backbone
from harness.errors import HarnessError
from harness.plugin import discovery
from harness.training.augment import draw
from harness.training.feed import Feed
from harness.training.passes import Through, check_slices
from harness.training.sharpness import climbed

SIDE, BATCH = 32, 48
# Who trains a model of its own is not asked for a loss over a line, nor cut into slices.
SHIPPED = sorted(
    name
    for name, plugin in discovery.discover().items()
    if b"trains_own_model = True" not in plugin.file.read_bytes()
)


class Net(Backbone):
    """Two convolutions, and dropout where it is asked for."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.n_features = 8
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.dropout = nn.Dropout(dropout)

    def encode(self, images):
        return (self.dropout(self.first(images).relu()),)

    def decode(self, maps):
        return self.last(maps[0]), maps[0].mean((2, 3))


@pytest.fixture(scope="module")
def feed():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
    masks = rng.integers(0, 3, (BATCH, SIDE, SIDE), np.uint8)
    return Feed(images, masks, [], np.arange(BATCH), CPU)


torch.manual_seed(1)
TEACHER = Net().eval()
GROUPS = np.random.default_rng(1).integers(-1, 3, BATCH)


def gradients(backbone: Backbone, feed: Feed, method: str, most: int) -> dict[str, torch.Tensor]:
    """The gradient of one step of 48 samples, by weight."""
    torch.manual_seed(7)
    backbone.zero_grad()
    plugin = discovery.find(method)
    # Every batch of a method that mixes by chance is one that it mixes.
    values = {"chance": 1.0} if method == "lisa" else {}
    assignment = told(method, task=make_task(n_features=backbone.n_features), hyper_parameters=values)
    asked = here(plugin, assignment)
    asked.begin(0)
    drawn = draw("fairseg", BATCH, np.random.default_rng(2))
    wanted, picks = asked_by(plugin), np.arange(BATCH)
    mix = asked.mix(torch.from_numpy(GROUPS), torch.from_numpy(picks)) if wanted.mixes else None
    assert (mix is not None) == wanted.mixes
    through = Through(backbone, feed, bfloat16=False, most=most)
    teacher = Through(TEACHER, feed, False, most).look(picks, drawn, mix) if wanted.taught else None

    def go(probe: bool) -> None:
        backbone.zero_grad()
        made = through.forward(picks, drawn, GROUPS, mix)
        answer = asked.answer(made.batch, made.logits, made.features, 1.0, teacher, probe)
        made.back(answer.logits, answer.features)

    if wanted.radius is None:
        go(probe=False)
    else:
        go(probe=True)
        with climbed(backbone, wanted.radius):
            go(probe=False)
    return {name: one.grad.clone() for name, one in backbone.named_parameters() if one.grad is not None}


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest distance of two gradients, relative to the length of the first."""
    assert one.keys() == other.keys()
    length = torch.stack([grad.norm() for grad in one.values()]).norm()
    return max(float((one[name] - other[name]).norm() / length) for name in one)


@pytest.mark.parametrize("method", SHIPPED)
def test_slices_of_any_size_give_the_whole_batchs_gradient(feed, method):
    torch.manual_seed(0)
    backbone = Net()
    whole = gradients(backbone, feed, method, 0)
    found = {most: apart(whole, gradients(backbone, feed, method, most)) for most in (48, 16, 5, 1)}
    print(f"\n{method}: {found}")
    assert found[48] == 0
    assert max(found.values()) < 1e-5


def test_a_loss_of_each_slice_is_another_gradient(feed):
    """Soft Dice over a batch is no mean over its samples: this is what the cache of gradients is for."""
    torch.manual_seed(0)
    backbone = Net()
    whole = gradients(backbone, feed, "erm", 0)
    backbone.zero_grad()
    asked = here(discovery.find("erm"), told("erm"))
    drawn = draw("fairseg", BATCH, np.random.default_rng(2))
    for start in range(0, BATCH, 4):
        picks = np.arange(start, start + 4)
        part = type(drawn)(drawn.variants[picks], drawn.degrees[picks])
        made = Through(backbone, feed, bfloat16=False).forward(picks, part, GROUPS[picks])
        answer = asked.answer(made.batch, made.logits, made.features, 1.0)
        made.back(answer.logits / 12, None)
    plain = {name: one.grad for name, one in backbone.named_parameters()}
    assert apart(whole, plain) > 1e-3


def test_what_a_slice_draws_it_draws_again_on_the_way_back(feed):
    torch.manual_seed(0)
    backbone, seen = Net(dropout=0.5), []
    backbone.dropout.register_forward_hook(lambda _, __, made: seen.append(made.detach()))
    gradients(backbone, feed, "erm", 16)
    after = torch.rand(1)
    assert len(seen) == 6
    assert all(torch.equal(seen[i], seen[i + 3]) for i in range(3))
    assert not torch.equal(seen[0] > 0, seen[1] > 0)
    # The way back leaves the generators as the way forward did.
    torch.manual_seed(7)
    for _ in range(3):
        nn.functional.dropout(torch.ones(16, 8, SIDE, SIDE), 0.5)
    assert torch.equal(after, torch.rand(1))


def test_sam_in_slices_has_the_whole_batchs_gradient(feed):
    protocol = parse()
    torch.manual_seed(0)
    backbone = backbones.build(protocol.backbone, 3, SIDE, None)
    backbone.train()
    check_slices(backbone, 5)
    whole = gradients(backbone, feed, "adv", 0)
    assert apart(whole, gradients(backbone, feed, "adv", 5)) < 1e-5


def test_batch_normalisation_that_learns_is_not_sliced():
    backbone = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    with pytest.raises(HarnessError, match=r"--slice 4: .* statistics are those of the whole batch; leave"):
        check_slices(backbone, 4)
    check_slices(backbone, 0)
    check_slices(backbone.eval(), 4)
