"""MobileSAM's encoder in fewer operations, against timm's own modules."""

import copy

import pytest
import torch
from torch import nn

from harness.backbones import mobile_sam
from harness.backbones.lora import LoRAQKV
from harness.backbones.mobile_sam import TinyViTEncoder, _Attention
from harness.backbones.tiny_vit_encoder import is_short

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    made = TinyViTEncoder().double()
    for name, value in [*made.named_parameters(), *made.named_buffers()]:
        if value.ndim == 1 or "attention_biases" in name:  # zeros and ones hide what they do
            nn.init.uniform_(value, 0.5, 1.5) if value.is_floating_point() else None
    return made.eval()


def short(encoder):
    return is_short(encoder.vit, encoder.neck, _Attention, CPU)


def timms(encoder, images):
    """What timm's own forward makes of images, in float64: with a graph it is never the short way."""
    return encoder.neck(encoder.vit.forward_features(images))


# 80 pixels leave windows that hang over at both edges, 112 whole ones in one stage alone, 224 none in two.
@pytest.mark.parametrize("size", [(80, 80), (112, 64), (224, 224)])
def test_it_gives_the_numbers_of_timms_own(encoder, size):
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        assert short(encoder)
        torch.testing.assert_close(encoder(images), timms(encoder, images), rtol=1e-9, atol=1e-9)


def test_adapters_count(encoder):
    adapted = copy.deepcopy(encoder)
    adapted.add_lora(2)
    adapted.double()
    for one in adapted.modules():
        if isinstance(one, LoRAQKV):
            for up in one.up.values():
                nn.init.normal_(up.weight)
    images = torch.randn(1, 3, 80, 80, dtype=torch.float64)
    with torch.no_grad():
        assert short(adapted)
        found = adapted(images)
        torch.testing.assert_close(found, timms(adapted, images), rtol=1e-9, atol=1e-9)
        assert not torch.allclose(found, encoder(images))


def test_a_graph_training_a_gpu_and_bfloat16_are_left_as_they_are(encoder):
    assert not short(encoder)  # gradients are on
    with torch.no_grad():
        assert not is_short(encoder.vit, encoder.neck, _Attention, torch.device("cuda"))
        with torch.autocast("cpu", torch.bfloat16):
            assert not short(encoder)
        learns = copy.deepcopy(encoder).train()
        assert not short(learns)


@pytest.mark.parametrize(
    "place", ["vit.stages.1.blocks.0.mlp.act", "vit.patch_embed", "neck.1", "vit.stages.2.blocks.5.attn.proj"]
)
def test_whoever_listens_to_a_module_hears_what_it_makes(encoder, place):
    heard, listened = [], copy.deepcopy(encoder)
    listened.get_submodule(place).register_forward_hook(lambda *told: heard.append(told))
    images = torch.randn(1, 3, 80, 80, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(listened(images), encoder(images), rtol=1e-9, atol=1e-9)
    assert heard


class Twice(nn.GELU):
    """A layer that a method puts in place of one: its output is doubled."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_what_a_method_puts_into_it_is_called(encoder):
    changed = copy.deepcopy(encoder)
    changed.vit.set_submodule("stages.0.blocks.1.act2", Twice())
    images = torch.randn(1, 3, 80, 80, dtype=torch.float64)
    with torch.no_grad():
        assert not torch.allclose(changed(images), encoder(images))


def test_the_short_way_is_the_one_that_is_taken(encoder, monkeypatch):
    taken = []
    whole = mobile_sam.tiny_vit_encoder.encode
    monkeypatch.setattr(
        mobile_sam.tiny_vit_encoder, "encode", lambda *told: taken.append(whole(*told)) or taken[-1]
    )
    with torch.inference_mode():
        made = encoder(torch.randn(1, 3, 64, 64, dtype=torch.float64))
    assert taken[0] is made
