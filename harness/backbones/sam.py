"""Segment Anything (ViT-B/L/H) adapted as SAMed does it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from harness.backbones import sam_encoder
from harness.backbones.attention import fuse
from harness.backbones.lora import LoRAQKV
from harness.backbones.prompt_free import STRIDE, WIDTH, PromptFreeSAM, check_size
from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.protocol import BackboneSpec


@dataclass(frozen=True)
class _Shape:
    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]


VARIANTS = {
    "vit_b": _Shape(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": _Shape(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": _Shape(1280, 32, 16, (7, 15, 23, 31)),
    # The same classes at a size for tests, for which there are no weights.
    "tiny": _Shape(32, 2, 2, (1,)),
}


def build(spec: BackboneSpec, n_classes: int, size: int, weights: Path | None) -> PromptFreeSAM:
    """Return SAM with the official weights, or with initial ones where `weights` is None.

    Raises HarnessError for an unknown variant or a size that its patches do not divide.
    """
    check_size(size)
    name = spec.variant or "vit_b"
    if name not in VARIANTS:
        raise HarnessError(f"backbone.variant: there is no SAM '{name}'.{did_you_mean(name, VARIANTS)}")
    shape = VARIANTS[name]
    network = PromptFreeSAM(_encoder(shape, size), n_classes, size, spec.normalise == "pretrained")
    if weights is not None:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        network.encoder.load_state_dict(_encoder_state(state, network.encoder))
        network.load_decoder(state, spec.heads)
    fuse(network.encoder)
    if spec.adapt == "lora":
        blocks: Any = network.encoder.blocks
        for block in blocks:
            block.attn.qkv = LoRAQKV(block.attn.qkv, heads=1, rank=spec.rank)
    network.adapt(spec.adapt)
    return network


class _Encoder(ImageEncoderViT):  # type: ignore[misc]
    """segment_anything's, each of whose blocks takes fewer operations where that is possible."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, 256, S / 16, S / 16] of normalised images [B, 3, S, S]."""
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = sam_encoder.through(block, x) if sam_encoder.is_short(block, x.device) else block(x)
        return self.neck(x.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


def _encoder(shape: _Shape, size: int) -> ImageEncoderViT:
    return _Encoder(
        img_size=size,
        patch_size=STRIDE,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=4,
        out_chans=WIDTH,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=shape.global_blocks,
    )


def _encoder_state(state: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Return the encoder's weights with its position embeddings brought to this image size.

    The checkpoints are for 1024 pixels. Absolute embeddings are interpolated bilinearly, the
    relative ones of the global blocks linearly, as in SAMed.
    """
    prefix = "image_encoder."
    found = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    for key, own in encoder.state_dict().items():
        if key == "pos_embed" and found[key].shape != own.shape:
            maps = found[key].movedim(-1, 1)
            found[key] = F.interpolate(maps, own.shape[1:3], mode="bilinear", align_corners=False).movedim(
                1, -1
            )
        elif "rel_pos" in key and found[key].shape != own.shape:
            lines = found[key].T[None]
            found[key] = F.interpolate(lines, len(own), mode="linear", align_corners=False)[0].T
    return found
