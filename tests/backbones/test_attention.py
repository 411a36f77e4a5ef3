"""The fused attention against segment_anything's own, which holds the whole matrix."""

import copy

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention
from timm.models.tiny_vit import Attention as TinyViTAttention
from torch import nn

from harness.backbones import mobile_sam, sam
from harness.backbones.attention import FusedAttention, fuse


def attention(height, width, dtype=torch.float32):
    made = Attention(48, num_heads=4, use_rel_pos=True, input_size=(height, width)).to(dtype)
    nn.init.normal_(made.rel_pos_h)
    nn.init.normal_(made.rel_pos_w)
    return made


def pulled(module, x, weights):
    """What a module makes of x, and the gradients at x and at its own weights."""
    x = x.clone().requires_grad_()
    made = module(x)
    gradients = torch.autograd.grad((made * weights).sum(), [x, *module.parameters()])
    return made, gradients


@pytest.mark.parametrize(("height", "width"), [(14, 14), (4, 4), (5, 9), (1, 3)])
def test_it_gives_the_numbers_and_the_gradients_of_sams_own(height, width):
    torch.manual_seed(height)
    whole = attention(height, width, torch.float64)
    x, weights = (torch.randn(2, height, width, 48, dtype=torch.float64) for _ in range(2))
    made, gradients = pulled(FusedAttention(whole), x, weights)
    expected, theirs = pulled(whole, x, weights)
    torch.testing.assert_close(made, expected)
    names = [name for name, _ in whole.named_parameters()]
    ours = dict(zip([n for n, _ in FusedAttention(whole).named_parameters()], gradients[1:], strict=True))
    torch.testing.assert_close(gradients[0], theirs[0])
    for name, one in zip(names, theirs[1:], strict=True):
        torch.testing.assert_close(ours[name], one)


def test_the_whole_encoder_gives_the_same_features_and_has_the_same_weights():
    torch.manual_seed(0)
    plain = sam._encoder(sam.VARIANTS["tiny"], 256)
    for name, weight in plain.named_parameters():
        if "rel_pos" in name:
            nn.init.normal_(weight)
    fused = copy.deepcopy(plain)
    fuse(fused)
    fused.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 256, 256)
    torch.testing.assert_close(fused(images), plain(images), rtol=1e-5, atol=1e-5)


def test_under_bfloat16_it_is_as_near_to_float32_as_sams_own_is():
    torch.manual_seed(0)
    whole = attention(14, 14)
    x = torch.randn(2, 14, 14, 48)
    exact = whole(x)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        errors = [(module(x).float() - exact).norm() for module in (FusedAttention(whole), whole)]
    assert errors[0] < 1.2 * errors[1]


def test_mobile_sams_encoder_gives_the_same_maps_with_a_graph_and_by_the_fused_attention_without(monkeypatch):
    torch.manual_seed(0)
    encoder = mobile_sam.TinyViTEncoder().eval()
    for name, weight in encoder.named_parameters():
        if "attention_biases" in name:
            nn.init.normal_(weight)
    plain, asked = torch.nn.functional.scaled_dot_product_attention, []

    def attend(*args, attn_mask, **kwargs):
        asked.append(attn_mask.ndim)
        return plain(*args, attn_mask=attn_mask, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    images = torch.randn(1, 3, 64, 64)
    learned = encoder(images)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), learned, rtol=1e-4, atol=1e-5)
    # Without a graph windows of one shape go together: of 8 x 8 pixels there are four shapes of 7 x 7, twice.
    assert asked == [3] * 10 + [4] * (2 * 4 + 6 + 2)


@pytest.mark.parametrize("resolution", [(7, 7), (14, 14), (3, 5)])
def test_mobile_sams_tables_of_offsets_are_timms(resolution):
    theirs, ours = (
        kind(64, 32, num_heads=2, resolution=resolution) for kind in (TinyViTAttention, mobile_sam._Attention)
    )
    assert torch.equal(ours.attention_bias_idxs, theirs.attention_bias_idxs)
