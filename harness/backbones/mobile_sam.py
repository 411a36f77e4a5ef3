"""MobileSAM: a TinyViT image encoder under SAM's own prompt encoder and mask decoder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from segment_anything.modeling.common import LayerNorm2d
from timm.models import tiny_vit
from timm.models.tiny_vit import Attention, TinyVit
from torch import Tensor, nn

from harness.backbones import tiny_vit_encoder
from harness.backbones.lora import LoRAQKV
from harness.backbones.prompt_free import WIDTH, PromptFreeSAM, check_size

if TYPE_CHECKING:
    from harness.protocol import BackboneSpec


class TinyViTEncoder(nn.Module):
    """The image encoder of MobileSAM (Zhang et al., 2023), for images of any size.

    timm's TinyViT-5M holds its weights; it differs in that the last stage does not halve the
    grid, and in the convolutional neck to 256 channels.
    """

    def __init__(self) -> None:
        super().__init__()
        # timm types its submodules as modules, which have no known attributes.
        with mock.patch.object(tiny_vit, "Attention", _Attention):
            vit: Any = TinyVit(
                num_classes=0,
                embed_dims=(64, 128, 160, 320),
                depths=(2, 2, 6, 2),
                num_heads=(2, 4, 5, 10),
                window_sizes=(7, 7, 14, 7),
                drop_path_rate=0.0,
            )
        vit.head = nn.Identity()
        vit.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.vit = vit
        self.neck = nn.Sequential(
            nn.Conv2d(320, WIDTH, 1, bias=False),
            LayerNorm2d(WIDTH),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
            LayerNorm2d(WIDTH),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return [B, 256, S / 16, S / 16] of normalised images [B, 3, S, S]."""
        if tiny_vit_encoder.is_short(self.vit, self.neck, _Attention, images.device):
            return tiny_vit_encoder.encode(self.vit, self.neck, images)
        features: Callable[[Tensor], Tensor] = self.vit.forward_features
        embedding: Tensor = self.neck(features(images))
        return embedding

    def add_lora(self, rank: int) -> None:
        """Put adapters on q and v of every attention block."""
        for stage in list(self.vit.stages)[1:]:
            for block in stage.blocks:
                block.attn.qkv = LoRAQKV(block.attn.qkv, block.attn.num_heads, rank)


class _Attention(Attention):
    """timm's, with a shorter start, and the biases as a CPU's fused attention asks for them."""

    def get_attention_biases(self, device: torch.device) -> Tensor:
        """Return the biases of [heads, N, N], on a CPU and without a graph as [1, heads, N, N]."""
        biases: Tensor = super().get_attention_biases(device)
        return biases[None] if device.type == "cpu" and not torch.is_grad_enabled() else biases

    def _init_buffers(self) -> None:
        """Number the offsets between two places of a window, row by row, without going through all pairs."""
        rows, columns = (torch.arange(side) for side in self.resolution)
        row, column = (one.flatten() for one in torch.meshgrid(rows, columns, indexing="ij"))
        apart = [(one[:, None] - one).abs() for one in (row, column)]
        self.get_buffer("attention_bias_idxs").copy_(apart[0] * self.resolution[1] + apart[1])
        self.attention_bias_cache: dict[str, Tensor] = {}


def build(spec: BackboneSpec, n_classes: int, size: int, weights: Path | None) -> PromptFreeSAM:
    """Return MobileSAM with the official weights, or with initial ones where `weights` is None."""
    check_size(size)
    encoder = TinyViTEncoder()
    network = PromptFreeSAM(encoder, n_classes, size, spec.normalise == "pretrained")
    if weights is not None:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        encoder.load_state_dict(_encoder_state(state))
        network.load_decoder(state, spec.heads)
    if spec.adapt == "lora":
        encoder.add_lora(spec.rank)
    network.adapt(spec.adapt)
    return network


def _encoder_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's weights under timm's names; index tables that timm computes are left out."""
    prefix = "image_encoder."
    renamed = {_rename(k.removeprefix(prefix)): v for k, v in state.items() if k.startswith(prefix)}
    skipped = ("vit.norm_head.", "vit.head.")
    return {k: v for k, v in renamed.items() if not k.startswith(skipped) and "attention_bias_idxs" not in k}


def _rename(key: str) -> str:
    if key.startswith("neck."):
        return key
    # There a stage ends with the downsampling to the next one; in timm the next one begins with it.
    key = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"stages.{int(m[1]) + 1}.downsample", key)
    key = re.sub(r"^layers\.", "stages.", key)
    key = key.replace("patch_embed.seq.0.", "patch_embed.conv1.").replace(
        "patch_embed.seq.2.", "patch_embed.conv2."
    )
    return "vit." + re.sub(r"\.c\.", ".conv.", key)
