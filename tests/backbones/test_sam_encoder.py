"""A block of SAM's encoder in fewer operations, against segment_anything's own classes."""

import copy

import pytest
import torch
from segment_anything.modeling.image_encoder import Block
from torch import nn

from harness.backbones import sam, sam_encoder
from harness.backbones.attention import FusedAttention
from harness.backbones.lora import LoRAQKV

CPU = torch.device("cpu")
WIDE = 24


def block(window, size, adapt="full", dtype=torch.float64):
    """segment_anything's block, its weights drawn: zeros and ones hide what they do."""
    torch.manual_seed(sum(size))
    made = Block(
        WIDE, 3, use_rel_pos=True, window_size=window, input_size=(window, window) if window else size
    )
    if adapt == "lora":
        made.attn.qkv = LoRAQKV(made.attn.qkv, 1, 2)
    for name, weight in made.named_parameters():
        nn.init.normal_(weight, std=0.3)
        weight.requires_grad_(adapt == "full" or ".down." in name or ".up." in name)
    return made.to(dtype)


def short(whole):
    """The same block and weights as the harness has them."""
    made = copy.deepcopy(whole)
    made.attn = FusedAttention(made.attn)
    assert sam_encoder.is_short(made, CPU)
    return made


def pulled(forward, weights, x):
    """What comes of x, and the gradients at it and at the weights that are trained."""
    x = x.clone().requires_grad_()
    made = forward(x)
    torch.manual_seed(7)
    (made * torch.randn(made.shape, dtype=made.dtype)).sum().backward()
    found = {name: one.grad for name, one in weights if one.requires_grad}
    return made, found | {"x": x.grad}


def assert_same(whole, size):
    own, x = short(whole), torch.randn(3, *size, WIDE, dtype=torch.float64)
    made, gradients = pulled(lambda x: sam_encoder.through(own, x), own.named_parameters(), x)
    expected, theirs = pulled(whole, whole.named_parameters(), x)
    torch.testing.assert_close(made, expected)
    assert gradients.keys() == theirs.keys()
    for name, one in theirs.items():
        torch.testing.assert_close(gradients[name], one, msg=name)


@pytest.mark.parametrize("adapt", ["full", "lora"])
# Windows that hang over at both edges, at one, at none; one that is larger than the image; none at all.
@pytest.mark.parametrize(
    ("window", "size"), [(4, (9, 6)), (3, (6, 4)), (3, (3, 6)), (7, (5, 2)), (0, (5, 3))]
)
def test_it_gives_the_numbers_and_the_gradients_of_sams_own(window, size, adapt):
    assert_same(block(window, size, adapt), size)


def test_however_few_windows_are_computed_at_once(monkeypatch):
    monkeypatch.setattr(sam_encoder, "_AT_ONCE", 300)  # of 16 x 16 scores a head
    monkeypatch.setattr(sam_encoder, "_AT_HAND", 1)
    assert_same(block(4, (9, 6)), (9, 6))


def test_tokens_that_lie_channel_by_channel_are_as_good():
    whole = block(4, (6, 6))
    x = torch.randn(2, WIDE, 6, 6, dtype=torch.float64).permute(0, 2, 3, 1)
    torch.testing.assert_close(sam_encoder.through(short(whole), x), whole(x))


def test_the_first_block_asks_for_no_gradient_of_images():
    whole = block(4, (6, 6), "lora")
    own, x = short(whole), torch.randn(2, 6, 6, WIDE, dtype=torch.float64)
    sam_encoder.through(own, x).square().sum().backward()
    whole(x).square().sum().backward()
    for (name, one), (_, other) in zip(own.named_parameters(), whole.named_parameters(), strict=True):
        if other.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, msg=name)


@pytest.mark.parametrize("adapt", ["full", "lora"])
@pytest.mark.parametrize("window", [4, 0])
def test_in_bfloat16_it_is_as_near_to_the_numbers_as_sams_own(window, adapt):
    whole = block(window, (9, 6), adapt, torch.float32)
    own, x = short(whole), torch.randn(4, 9, 6, WIDE)
    exactly = copy.deepcopy(whole)
    exact, slopes = pulled(exactly, exactly.named_parameters(), x)
    errors, steep = [], []
    for forward, one in ((lambda x: sam_encoder.through(own, x), own), (whole, whole)):
        with torch.autocast("cpu", torch.bfloat16):
            made, gradients = pulled(forward, one.named_parameters(), x)
        errors.append((made.float() - exact).norm().item())
        apart = [(gradients[name] - slope).square().sum().item() for name, slope in slopes.items()]
        steep.append(sum(apart) ** 0.5)
    assert errors[0] < 1.2 * errors[1]
    assert steep[0] < 1.2 * steep[1]


def encoder():
    torch.manual_seed(0)
    made = sam._encoder(sam.VARIANTS["tiny"], 80)
    sam.fuse(made)
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.1)
    return made.double()


IMAGE = torch.linspace(-1, 1, 3 * 80 * 80, dtype=torch.float64).view(1, 3, 80, 80)


def test_the_short_way_is_the_one_that_is_taken(monkeypatch):
    taken, through = [], sam_encoder.through
    monkeypatch.setattr(sam_encoder, "through", lambda *told: taken.append(told[0]) or through(*told))
    made = encoder()
    made(IMAGE)
    assert taken == list(made.blocks)


def test_a_gpu_is_left_as_it_is():
    assert not sam_encoder.is_short(encoder().blocks[0], torch.device("cuda"))


@pytest.mark.parametrize("place", ["blocks.0", "blocks.1.attn", "blocks.1.attn.qkv", "blocks.0.mlp.act"])
def test_whoever_listens_to_a_module_hears_what_it_makes(place):
    made, heard = encoder(), []
    before = made(IMAGE)
    made.get_submodule(place).register_forward_hook(lambda *told: heard.append(told))
    torch.testing.assert_close(made(IMAGE), before)
    assert heard


class Twice(nn.Linear):
    """A layer that a method puts in place of one: its output is doubled."""

    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("place", ["blocks.1.attn.proj", "blocks.0.attn.qkv", "blocks.0.mlp.lin1"])
def test_what_a_method_puts_into_a_block_is_called(place):
    made = encoder()
    before = made(IMAGE)
    like = made.get_submodule(place)
    own = Twice(like.in_features, like.out_features).double()
    own.load_state_dict(like.state_dict())
    made.set_submodule(place, own)
    assert not torch.allclose(made(IMAGE), before)
