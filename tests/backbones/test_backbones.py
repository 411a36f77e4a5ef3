"""Every network at a size for tests: shapes, what is trained, determinism; and the real MobileSAM."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import needs
import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from harness.backbones import build, mobile_sam, sam, weights
from harness.backbones.lora import LoRAQKV
from harness.errors import HarnessError
from harness.protocol import BackboneSpec

CASES = [
    ("unet", "full", ""),
    ("mobile-sam", "frozen", ""),
    ("mobile-sam", "lora", ""),
    ("sam", "frozen", "tiny"),
    ("sam", "lora", "tiny"),
    ("sam", "full", "tiny"),
]


def network(name, adapt, variant, size=64, n_classes=3, seed=0):
    torch.manual_seed(seed)
    return build(BackboneSpec(name=name, adapt=adapt, variant=variant), n_classes, size, None)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_shapes_and_finite_gradients_of_what_is_trained(case, deterministic):
    net = network(*case).train()
    logits, features = net(torch.rand(2, 3, 64, 64))
    assert logits.shape[:2] == (2, 3)
    assert features.shape == (2, net.n_features)
    (logits.square().mean() + features.square().mean()).backward()
    for name, weight in net.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name


@pytest.mark.parametrize("case", [*CASES, ("transunet", "full", "b16")], ids="-".join)
def test_what_a_method_may_hold_on_to_is_what_it_is_said_to_be(case):
    net, seen = network(*case, size=32).eval(), {}
    for name in net.heads:
        net.get_submodule(name).register_forward_hook(
            lambda _, given, made, name=name: seen.setdefault(name, []).append(len(given[0])) or 0 * made
        )
    with torch.no_grad():
        maps = net.encode(torch.rand(2, 3, 32, 32))
        logits, _ = net.decode(maps)
    assert maps[net.deepest].shape[:2] == (2, net.width)
    # Each is called once, with samples first, and without them there are no logits.
    assert seen == {name: [2] for name in net.heads}
    assert not logits.any()


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_an_adversary_reaches_weights_through_the_features(case):
    net = network(*case).train()
    net(torch.rand(2, 3, 64, 64))[1].square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_same_seed_same_bits_through_a_training_step(case, deterministic):
    def step():
        net = network(*case).train()
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad])
        torch.manual_seed(1)
        net(torch.rand(2, 3, 64, 64))[0].square().mean().backward()
        optimizer.step()
        return net.state_dict()

    first, second = step(), step()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("case", [c for c in CASES if c[1] == "frozen"], ids="-".join)
def test_a_frozen_encoder_is_not_changed_by_training(case):
    net = network(*case).train()
    assert not any(p.requires_grad for p in net.encoder.parameters())
    before = copy.deepcopy(net.encoder.state_dict())
    net(torch.rand(2, 3, 64, 64))
    after = net.encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before), "a batch norm moved"


@pytest.mark.parametrize("case", [c for c in CASES if c[1] == "lora"], ids="-".join)
def test_lora_starts_as_the_plain_network_and_is_all_that_the_encoder_trains(case):
    plain, adapted = network(case[0], "frozen", case[2]), network(*case)
    ours = {k.replace("qkv.base.", "qkv."): v for k, v in adapted.encoder.state_dict().items()}
    plain.encoder.load_state_dict({k: v for k, v in ours.items() if ".down." not in k and ".up." not in k})
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(plain.eval().encode(images), adapted.eval().encode(images))
    trained = {n for n, p in adapted.encoder.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in adapted.encoder.named_parameters() if ".down." in n or ".up." in n}


def test_lora_changes_queries_and_values_and_never_keys():
    base = nn.Linear(12, 36)
    for heads in (1, 3):
        layer = LoRAQKV(base, heads, rank=2)
        for name in "qv":
            nn.init.normal_(layer.up[name].weight)
        x = torch.rand(5, 12)
        change = (layer(x) - base(x)).unflatten(-1, (heads, 3, 12 // heads))
        assert change[:, :, 1].abs().max() == 0
        expected = x @ layer.down["q"].weight.T @ layer.up["q"].weight.T
        torch.testing.assert_close(change[:, :, 0].flatten(1), expected)


def test_position_embeddings_are_brought_to_the_image_size():
    large = ImageEncoderViT(img_size=128, embed_dim=32, depth=2, num_heads=2, use_rel_pos=True,
                            global_attn_indexes=(1,), out_chans=256, window_size=14)  # fmt: skip
    nn.init.normal_(large.pos_embed)
    small = sam._encoder(sam.VARIANTS["tiny"], 64)
    state = {f"image_encoder.{k}": v for k, v in large.state_dict().items()}
    converted = sam._encoder_state(state, small)
    small.load_state_dict(converted)
    # Halving a grid bilinearly is the mean of each 2 x 2 block.
    blocks = large.pos_embed.unflatten(1, (4, 2)).unflatten(3, (4, 2)).mean((2, 4))
    torch.testing.assert_close(converted["pos_embed"], blocks)


@pytest.mark.parametrize(
    ("spec", "size", "message"),
    [
        ({"name": "mobilesam"}, 64, "no backbone 'mobilesam'. Did you mean 'mobile-sam'?"),
        ({"name": "sam", "variant": "vit_x"}, 64, "there is no SAM 'vit_x'. Did you mean 'vit_"),
        ({"name": "mobile-sam"}, 100, "needs a multiple of 16; use 96"),
        ({"name": "unet", "adapt": "frozen"}, 64, "use adapt = 'full'"),
    ],
)
def test_what_a_network_cannot_do_is_one_sentence(spec, size, message):
    with pytest.raises(HarnessError, match=message):
        build(BackboneSpec(**spec), 3, size, None)


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    from platformdirs import user_cache_path

    cache = Path(os.environ.get("HARNESS_CACHE") or user_cache_path("equity-leaderboard"))
    try:
        return weights.fetch("mobile-sam", cache)
    except HarnessError as error:
        needs.missing(f"no source answers: {error}", "`harness weights fetch mobile-sam`")


def test_the_official_mobile_sam_weights_fill_the_network(checkpoint):
    net = build(BackboneSpec(name="mobile-sam"), 3, 256, checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    wanted = mobile_sam._encoder_state(state)
    assert wanted.keys() == net.encoder.state_dict().keys()
    own = net.state_dict()
    for key in ("mask_decoder.iou_token.weight", "mask_decoder.transformer.layers.1.mlp.lin2.weight"):
        assert torch.equal(own[key], state[key])
    assert torch.equal(own["mask_decoder.mask_tokens.weight"], state["mask_decoder.mask_tokens.weight"][:3])


def test_mobile_sam_sees_the_object_that_sam_would(checkpoint):
    """Before any training, a bright disc stands out: some mask token's output separates it."""
    net = build(BackboneSpec(name="mobile-sam"), 4, 256, checkpoint).eval()
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    disc = (x - 128) ** 2 + (y - 128) ** 2 < 60**2
    image = torch.where(disc, 0.9, 0.2).expand(1, 3, 256, 256)
    with torch.inference_mode():
        logits = net(image)[0][0]
    inside = disc[2::4, 2::4]
    contrast = [(m[inside].mean() - m[~inside].mean()).abs() / m.std() for m in logits]
    assert max(contrast) > 1
