"""TransUNet beside a forward pass written here from its published description, on the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F

from harness import backbones
from harness.backbones import weights
from harness.backbones.transunet import TransUNet
from harness.errors import HarnessError
from harness.protocol import BackboneSpec

SIDE = 64
"""Of what goes through it; the published model's is 224."""
PARAMETERS = {"r50_b16": 105_276_211, "b16": 91_673_331}
"""Of the published model for three classes, counted layer by layer in `test_parameters_and_shapes`."""


def build(variant: str, file: Path | None = None, size: int = SIDE):
    spec = BackboneSpec(name="transunet", variant=variant, adapt="full", normalise="none")
    return backbones.build(spec, 3, size, file)


def filled(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Make a network without the seconds that its own initial weights take, and fill it with noise."""
    with torch.device("meta"):
        network = make()
    network, generator = network.to_empty(device="cpu"), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.normal_(std=0.03 if value.ndim > 1 else 0.1, generator=generator)
            if "running_var" in name or (value.ndim == 1 and name.endswith("weight")):
                value.abs_().add_(1)
    return network


@pytest.fixture(scope="module", params=["r50_b16", "b16"])
def network(request):
    return filled(lambda: build(request.param)).eval()


def standardised(x, w, stride=1, padding=0):
    """A convolution whose weights have mean 0 and variance 1 in every output channel."""
    flat = w.flatten(1)
    flat = (flat - flat.mean(1, keepdim=True)) / (flat.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    return F.conv2d(x, flat.view_as(w), None, stride, padding)


def residual(w: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """ResNet-50 to stride 16: group normalisation after each convolution, the sum before the last ReLU."""

    def norm(x, name, groups=32, eps=1e-6):
        return F.group_norm(x, groups, w[f"{name}.weight"], w[f"{name}.bias"], eps)

    side = x.shape[-1]
    x = F.relu(norm(standardised(x, w["stem.conv.weight"], 2, 3), "stem.norm"))
    maps = [x]
    x = F.max_pool2d(x, 3, 2)  # without padding: a pixel short
    for stage, units in enumerate((3, 4, 9)):
        for unit in range(units):
            at = f"stages.{stage}.blocks.{unit}"
            stride = 2 if stage and not unit else 1
            way = x
            if not unit:
                way = standardised(x, w[f"{at}.downsample.conv.weight"], stride)
                way = norm(way, f"{at}.downsample.norm", way.shape[1], 1e-5)
            y = F.relu(norm(standardised(x, w[f"{at}.conv1.weight"]), f"{at}.norm1"))
            y = F.relu(norm(standardised(y, w[f"{at}.conv2.weight"], stride, 1), f"{at}.norm2"))
            x = F.relu(way + norm(standardised(y, w[f"{at}.conv3.weight"]), f"{at}.norm3"))
        if stage < 2:
            full = torch.zeros(*x.shape[:2], side // 4 // (stage + 1), side // 4 // (stage + 1))
            full[:, :, : x.shape[2], : x.shape[3]] = x
            maps.append(full)
    return [x, *maps[::-1]]


def transformer(w: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """Twelve layers of twelve heads, normalised before each part and after the last."""
    x = tokens + w["pos_embed"]
    for i in range(12):
        at = f"blocks.{i}"
        y = F.layer_norm(x, (768,), w[f"{at}.norm1.weight"], w[f"{at}.norm1.bias"], 1e-6)
        q, k, v = (y @ w[f"{at}.attn.qkv.weight"].T + w[f"{at}.attn.qkv.bias"]).split(768, -1)
        heads = []
        for head in range(12):
            part = slice(64 * head, 64 * head + 64)
            attention = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(64)).softmax(-1)
            heads.append(attention @ v[..., part])
        x = x + torch.cat(heads, -1) @ w[f"{at}.attn.proj.weight"].T + w[f"{at}.attn.proj.bias"]
        y = F.layer_norm(x, (768,), w[f"{at}.norm2.weight"], w[f"{at}.norm2.bias"], 1e-6)
        y = F.gelu(y @ w[f"{at}.mlp.fc1.weight"].T + w[f"{at}.mlp.fc1.bias"])
        x = x + y @ w[f"{at}.mlp.fc2.weight"].T + w[f"{at}.mlp.fc2.bias"]
    return F.layer_norm(x, (768,), w["norm.weight"], w["norm.bias"], 1e-6)


def upsampler(w: dict[str, torch.Tensor], x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
    """Convolution to 512, then four times: double, skip beside it, two convolutions; a head of 3 x 3."""

    def layer(x, at):
        x = F.conv2d(x, w[f"{at}.0.weight"], None, padding=1)
        statistics = w[f"{at}.1.running_mean"], w[f"{at}.1.running_var"]
        return F.relu(F.batch_norm(x, *statistics, w[f"{at}.1.weight"], w[f"{at}.1.bias"]))

    x = layer(x, "first")
    for i in range(4):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        if i < len(skips):
            x = torch.cat([x, skips[i]], 1)
        x = layer(layer(x, f"blocks.{i}.convolutions.0"), f"blocks.{i}.convolutions.1")
    return F.conv2d(x, w["last.weight"], w["last.bias"], padding=1)


def below(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}


@torch.inference_mode()
def test_the_forward_pass(network):
    state = network.state_dict()
    images = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    vit, skips, x = below(state, "vit."), [], images
    if network.residual is not None:
        x, *skips = residual(below(state, "residual."), images)
    weight, bias = vit["patch_embed.proj.weight"], vit["patch_embed.proj.bias"]
    tokens = F.conv2d(x, weight, bias, stride=weight.shape[-1]).flatten(2).transpose(1, 2)
    encoded = transformer(vit, tokens).transpose(1, 2).reshape(1, 768, SIDE // 16, SIDE // 16)
    expected = upsampler(state, encoded, skips)
    found, features = network(images)
    apart = float((found - expected).abs().max())
    print(f"\n{apart:.1e} apart, of logits up to {float(expected.abs().max()):.2f}")
    assert features.shape == (1, network.n_features)
    assert expected.std() > 0.01
    assert apart < 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameters_and_shapes(variant):
    """The sums by hand at 224 pixels: the transformer, the residual stages, the up-sampler."""
    with torch.device("meta"):
        network = build(variant, size=224)
        shapes = [tuple(one.shape[1:]) for one in network.encode(torch.rand(1, 3, 224, 224))]
    hybrid = variant == "r50_b16"
    layer = 4 * 768 * 768 + 4 * 768 + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    patches = 768 * (1024 if hybrid else 3 * 16 * 16) + 768
    wanted = 12 * layer + patches + 196 * 768 + 2 * 768
    if hybrid:
        wanted += 3 * 64 * 49 + 2 * 64
        given = 64
        for width, units in ((64, 3), (128, 4), (256, 9)):
            made = 4 * width
            wanted += given * made + 2 * made  # the projection
            for unit in range(units):
                wanted += (made if unit else given) * width + 9 * width * width + width * made
                wanted += 2 * (width + width + made)
            given = made
    skips = (512, 256, 64, 0) if hybrid else (0, 0, 0, 0)
    wanted += 9 * 768 * 512 + 2 * 512
    given = 512
    for made, skip in zip((256, 128, 64, 16), skips, strict=True):
        wanted += 9 * (given + skip) * made + 9 * made * made + 4 * made
        given = made
    wanted += 9 * 16 * 3 + 3
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == wanted
    assert wanted == PARAMETERS[variant]
    skipped = [(512, 28, 28), (256, 56, 56), (64, 112, 112)] if hybrid else []
    assert shapes == [(768, 14, 14), *skipped]


def test_dropout_is_where_the_published_model_has_it():
    with torch.device("meta"):
        parts = build("b16").named_modules()
    rates = {name: one.p for name, one in parts if isinstance(one, torch.nn.Dropout)}
    dropped = {name for name, rate in rates.items() if rate}
    within = {f"vit.blocks.{i}.mlp.drop{j}" for i in range(12) for j in (1, 2)}
    assert dropped == {"vit.pos_drop"} | within
    assert {rates[name] for name in dropped} == {0.1}


@pytest.mark.parametrize(
    ("variant", "name", "size"),
    [
        pytest.param("r50_b16", "vit_base_r50_s16_224", 128, marks=pytest.mark.slow),
        ("b16", "vit_base_patch16_224", 224),
    ],
)
def test_timms_weights_fill_the_encoder(variant, name, size, tmp_path):
    """timm's own model has the checkpoint's keys; the class token, its position and the head go."""
    donor = filled(lambda: timm.create_model(name, pretrained=False, num_classes=5))
    state = donor.state_dict() | {"pre_logits.fc.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "w.pth")
    net = build(variant, file=tmp_path / "w.pth", size=size)
    own = net.vit.state_dict()
    assert torch.equal(own["blocks.7.attn.qkv.weight"], state["blocks.7.attn.qkv.weight"])
    positions = state["pos_embed"][:, 1:]
    if size == 224:
        assert torch.equal(own["pos_embed"], positions)
    else:
        corners = own["pos_embed"].reshape(8, 8, 768)[[0, 0, 7, 7], [0, 7, 0, 7]]
        torch.testing.assert_close(corners, positions.reshape(14, 14, 768)[[0, 0, 13, 13], [0, 13, 0, 13]])
    if net.residual is not None:
        key = "stages.2.blocks.8.conv2.weight"
        assert torch.equal(net.residual.state_dict()[key], state[f"patch_embed.backbone.{key}"])


class Spy(torch.nn.Module):
    """A transformer that keeps what it is given."""

    def __init__(self, seen: list[torch.Tensor]):
        super().__init__()
        self.seen = seen

    def forward_features(self, images):
        self.seen.append(images)
        return torch.zeros(1, (SIDE // 16) ** 2, 768)


def test_images_are_brought_to_what_the_weights_were_trained_with_where_asked():
    images, seen = torch.rand(1, 3, SIDE, SIDE), []
    for normalised in (True, False):
        net = TransUNet.__new__(TransUNet)
        torch.nn.Module.__init__(net)
        net._normalised, net.residual, net.vit = normalised, None, Spy(seen)
        net.encode(images)
    torch.testing.assert_close(seen[0], (images - 0.5) / 0.5)
    assert torch.equal(seen[1], images)


@pytest.mark.parametrize(
    ("spec", "size", "message"),
    [
        ({"variant": "r50"}, 224, "there is no TransUNet 'r50'. Did you mean 'r50_b16'?"),
        ({"adapt": "lora"}, 224, "TransUNet is trained whole; use adapt = 'full'"),
        ({}, 225, "needs a multiple of 16; use 224"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(spec, size, message):
    with pytest.raises(HarnessError, match=message):
        backbones.build(BackboneSpec(**({"name": "transunet", "adapt": "full"} | spec)), 3, size, None)


def test_its_weights_are_checked_by_the_digits_that_are_published(tmp_path):
    spec = BackboneSpec(name="transunet", adapt="full")
    assert weights.required(spec) == "transunet-r50_b16"
    known = weights.CHECKPOINTS["transunet-r50_b16"]
    assert known.file.endswith(f"-{known.sha256}.pth")
    assert known.address.endswith(known.file)
    (tmp_path / "other.pth").write_bytes(b"other")
    with pytest.raises(HarnessError, match="its SHA-256 is not the official one"):
        weights.fetch("transunet-r50_b16", tmp_path, tmp_path / "other.pth")
