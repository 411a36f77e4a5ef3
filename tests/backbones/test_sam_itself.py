"""Our SAM beside segment_anything's own model with the same weights: the same logits, at 1024 pixels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from segment_anything import build_sam_vit_b
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from harness import backbones
from harness.backbones import sam
from harness.protocol import BackboneSpec

SIDE = 1024


def tiny() -> Sam:
    """segment_anything's classes, put together as its `_build_sam` does, at the size of our `tiny`."""
    shape = sam.VARIANTS["tiny"]
    encoder = ImageEncoderViT(
        img_size=SIDE,
        patch_size=16,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=4,
        out_chans=256,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=shape.global_blocks,
    )
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        transformer_dim=256,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )
    return Sam(encoder, PromptEncoder(256, (SIDE // 16,) * 2, (SIDE, SIDE), 16), decoder)


@pytest.mark.parametrize(
    ("variant", "build", "normalise"),
    [
        ("tiny", tiny, "pretrained"),
        ("tiny", tiny, "none"),
        pytest.param("vit_b", build_sam_vit_b, "pretrained", marks=pytest.mark.slow),
    ],
)
def test_with_fresh_adapters_it_is_segment_anything(variant, build, normalise, tmp_path: Path):
    torch.manual_seed(0)
    theirs = build().eval()
    for name, weight in theirs.image_encoder.named_parameters():
        if "pos" in name:  # zeros before any training, which would hide what they do
            nn.init.normal_(weight, std=0.1)
    torch.save(theirs.state_dict(), tmp_path / "sam.pth")
    spec = BackboneSpec(name="sam", variant=variant, adapt="lora", normalise=normalise)
    ours = backbones.build(spec, 4, SIDE, tmp_path / "sam.pth").eval()
    image = torch.rand(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        given = theirs.preprocess(255 * image) if normalise == "pretrained" else image
        sparse, dense = theirs.prompt_encoder(points=None, boxes=None, masks=None)
        expected, _ = theirs.mask_decoder.predict_masks(
            image_embeddings=theirs.image_encoder(given),
            image_pe=theirs.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        found, _ = ours(image)
    apart = float((found - expected).abs().max())
    print(f"\n{variant}, {normalise}: {apart:.1e} apart, of logits up to {float(expected.abs().max()):.1f}")
    assert expected.std() > 0.01
    assert apart < 1e-5
