"""SAM's mask decoder in fewer operations, against segment_anything's own classes."""

import copy

import pytest
import torch
from torch import nn

from harness.backbones.prompt_free import PromptFreeSAM
from harness.backbones.sam_decoder import is_short


class Nothing(nn.Module):
    """An encoder whose images are embeddings."""

    def forward(self, x):
        return x


def network(n_classes=3, size=80):
    torch.manual_seed(n_classes)
    net = PromptFreeSAM(Nothing(), n_classes, size, normalised=False).double()
    for name, weight in net.named_parameters():
        if weight.ndim == 1 or "no_mask" in name:  # zeros and ones before any training hide what they do
            nn.init.normal_(weight)
    net.prompt_encoder.pe_layer.float()  # segment_anything lays its grid out in no other type
    net.adapt("frozen")
    return net


def sams(net, maps):
    """Logits and features as segment_anything computes them, with its own methods alone."""
    decoder, batch = net.mask_decoder, len(maps)
    _, dense = net.prompt_encoder(None, None, None)
    position = net.prompt_encoder.get_dense_pe()
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(batch, -1, -1)
    tokens, pixels = decoder.transformer(maps + dense, position.expand(batch, -1, -1, -1), tokens)
    upscaled = decoder.output_upscaling(pixels.transpose(1, 2).unflatten(2, maps.shape[2:]))
    heads = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    return torch.einsum("bkc,bchw->bkhw", torch.stack(heads, 1), upscaled), pixels.mean(1)


def pulled(net, forward, maps):
    """What comes of maps, and the gradients at them and at the weights."""
    maps = maps.clone().requires_grad_()
    logits, features = forward(maps)
    torch.manual_seed(7)
    sums = [(one * torch.randn(one.shape, dtype=one.dtype)).sum() for one in (logits, features)]
    (sums[0] + sums[1]).backward()
    gradients = {name: one.grad for name, one in net.named_parameters() if one.grad is not None}
    net.zero_grad(set_to_none=True)
    return logits, features, gradients | {"maps": maps.grad}


def assert_same(net, height=5, width=5):
    maps = torch.randn(2, 256, height, width, dtype=torch.float64)
    logits, features, gradients = pulled(net, lambda maps: net.decode((maps,)), maps)
    expected, theirs, wanted = pulled(net, lambda maps: sams(net, maps), maps)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(features, theirs)
    assert gradients.keys() == wanted.keys()
    for name, one in wanted.items():
        torch.testing.assert_close(gradients[name], one, rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("n_classes", [2, 3, 14])
def test_it_gives_the_numbers_and_the_gradients_of_sams_own(n_classes):
    net = network(n_classes)
    assert is_short(net.mask_decoder.transformer, n_classes + 1, torch.device("cpu"))
    assert_same(net)


def test_a_gradient_of_a_gradient_is_sams_own():
    net = network()
    maps = torch.randn(1, 256, 5, 5, dtype=torch.float64)
    found = []
    for forward in (lambda maps: net.decode((maps,)), lambda maps: sams(net, maps)):
        at = maps.clone().requires_grad_()
        (slope,) = torch.autograd.grad(forward(at)[0].square().sum(), at, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), at)[0])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5 * float(found[1].abs().max()))


def test_many_classes_are_computed_as_sam_does():
    net = network(15)
    assert not is_short(net.mask_decoder.transformer, 16, torch.device("cpu"))
    assert_same(net)


def test_a_gpu_is_left_as_it_is():
    assert not is_short(network().mask_decoder.transformer, 4, torch.device("cuda"))


class Twice(nn.Linear):
    """A layer that a method puts in place of one: its output is doubled."""

    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("place", ["transformer.layers.1.cross_attn_image_to_token.v_proj"])
def test_what_a_method_puts_into_the_transformer_is_called(place):
    net = network()
    like = net.mask_decoder.get_submodule(place)
    own = Twice(like.in_features, like.out_features).double()
    own.load_state_dict(like.state_dict())
    before = net.decode((maps := torch.randn(1, 256, 5, 5, dtype=torch.float64),))[0]
    net.mask_decoder.set_submodule(place, own)
    assert not torch.allclose(net.decode((maps,))[0], before)
    assert_same(net)


@pytest.mark.parametrize(
    "place",
    [
        "transformer",
        "transformer.layers.0",
        "transformer.layers.0.cross_attn_token_to_image",
        "transformer.layers.0.cross_attn_image_to_token.out_proj",
        "transformer.layers.1.norm4",
        "transformer.layers.1.mlp",
        "output_upscaling",
        "output_upscaling.1",
        "output_upscaling.3",
    ],
)
def test_whoever_listens_to_a_module_hears_what_it_makes(place):
    net, heard = network(), []
    maps = torch.randn(1, 256, 5, 5, dtype=torch.float64)
    before = net.decode((maps,))[0]
    listened = copy.deepcopy(net)
    listened.mask_decoder.get_submodule(place).register_forward_hook(lambda *told: heard.append(told))
    torch.testing.assert_close(listened.decode((maps,))[0], before)
    assert heard


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])  # of a kept embedding, of an encoder's
def test_in_bfloat16_it_is_as_near_to_the_numbers_as_sams_own(kind):
    net = network().float()
    maps = torch.randn(4, 256, 5, 5).to(kind)
    exact, _, slopes = pulled(net, lambda maps: net.decode((maps,)), maps.float())
    errors, steep = [], []
    for forward in (lambda maps: net.decode((maps,)), lambda maps: sams(net, maps)):
        with torch.autocast("cpu", torch.bfloat16):
            assert is_short(net.mask_decoder.transformer, 4, torch.device("cpu"))
            logits, _, gradients = pulled(net, forward, maps)
        assert logits.dtype == torch.bfloat16
        errors.append((logits.float() - exact).norm().item())
        apart = [(gradients[name] - one).square().sum().item() for name, one in slopes.items()]
        steep.append(sum(apart) ** 0.5)
    assert errors[0] < 1.2 * errors[1]
    assert steep[0] < 1.2 * steep[1]


def test_a_layer_that_keeps_float32_is_no_hindrance_in_bfloat16():
    class Exact(nn.Module):
        """A head that a method puts in place of one, which leaves autocast."""

        def __init__(self, own):
            super().__init__()
            self.own = own

        def forward(self, x):
            with torch.autocast("cpu", enabled=False):
                return self.own(x.float())

    net = network().float()
    heads = net.mask_decoder.output_hypernetworks_mlps
    for i, own in enumerate(list(heads)):
        heads[i] = Exact(own)
    with torch.autocast("cpu", torch.bfloat16):
        _, _, gradients = pulled(net, lambda maps: net.decode((maps,)), torch.randn(1, 256, 5, 5))
    assert all(one.isfinite().all() for one in gradients.values())
