"""Segment Anything without prompts: one output mask a class, the adaptation of SAMed."""

from __future__ import annotations

from typing import Literal

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from harness.backbones import sam_decoder
from harness.backbones.backbone import Backbone
from harness.errors import HarnessError

WIDTH = 256
STRIDE = 16

# What SAM's encoders were trained on, for images in [0, 1] (segment_anything.build_sam).
_MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
_STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)

_HEADS = (
    "mask_decoder.mask_tokens.",
    "mask_decoder.output_hypernetworks_mlps.",
    "mask_decoder.iou_prediction_head.",
)


class PromptFreeSAM(Backbone):
    """An image encoder and SAM's own prompt encoder and mask decoder, without any prompt.

    As SAMed (Zhang and Liu, 2023): the mask decoder has a token for every class and for the
    background, prompt encoder ("no mask" embedding) and mask decoder are trained, the image
    encoder is fixed or has low-rank adapters. Logits come at a quarter of the image's side.
    Images are normalised by SAM's mean and standard deviation, which its weights were trained
    with, unless `normalised` is False: the FairSeg scripts leave that out.
    """

    n_features = WIDTH
    width = WIDTH

    def __init__(self, encoder: nn.Module, n_classes: int, size: int, normalised: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        grid = size // STRIDE
        self.prompt_encoder = PromptEncoder(WIDTH, (grid, grid), (size, size), mask_in_chans=16)
        self.mask_decoder = MaskDecoder(
            transformer_dim=WIDTH,
            transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, mlp_dim=2048, num_heads=8),
            num_multimask_outputs=n_classes - 1,
        )
        # What an output mask is weighed by; together with the upscaled image embedding it is the logits.
        self.heads = tuple(f"mask_decoder.output_hypernetworks_mlps.{i}" for i in range(n_classes))
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)
        self._normalised = normalised
        self._encoder_learns = True

    def adapt(self, how: Literal["frozen", "lora", "full"]) -> None:
        """Set which weights are trained; adapters must be in place before."""
        self._encoder_learns = how == "full"
        for name, weight in self.encoder.named_parameters():
            adapter = ".down." in name or ".up." in name
            weight.requires_grad_(how == "full" or (how == "lora" and adapter))
        # No prompt is ever given and the quality of a mask is not predicted: these have no gradient.
        for part in (
            self.prompt_encoder.point_embeddings,
            self.prompt_encoder.not_a_point_embed,
            self.prompt_encoder.mask_downscaling,
            self.mask_decoder.iou_prediction_head,
        ):
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> PromptFreeSAM:
        """Keep the statistics of a fixed encoder's batch norms fixed too."""
        super().train(mode)
        self.encoder.train(mode and self._encoder_learns)
        return self

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the image embedding, [B, 256, S / 16, S / 16]."""
        if self._normalised:
            images = (images - self.get_buffer("mean")) / self.get_buffer("std")
        return (self.encoder(images),)

    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return logits [B, C, S / 4, S / 4] and the transformer's image embedding, averaged: [B, 256]."""
        (embedding,) = maps
        batch, _, height, width = embedding.shape
        decoder = self.mask_decoder
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(batch, -1, -1)
        tokens, pixels = self._transform(embedding, tokens)
        heads = [mlp(tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
        logits = sam_decoder.weigh_upscaled(decoder.output_upscaling, pixels, torch.stack(heads, 1), height)
        if logits is None:
            upscaled = decoder.output_upscaling(pixels.transpose(1, 2).reshape(batch, WIDTH, height, width))
            # Not einsum, whose gradient lies class by class: GELU's backward then takes five times as long.
            logits = upscaled.permute(0, 2, 3, 1).flatten(1, 2) @ torch.stack(heads, 2)
            logits = logits.transpose(1, 2).unflatten(2, upscaled.shape[2:])
        return logits, pixels.mean(1)

    def _transform(self, embedding: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the transformer makes of all tokens but the first, and of pixels, [B, h w, 256]."""
        transformer, position = self.mask_decoder.transformer, self.prompt_encoder.get_dense_pe()
        if sam_decoder.is_short(transformer, tokens.shape[1], embedding.device):
            added = self.prompt_encoder.no_mask_embed.weight[0]
            return sam_decoder.transform(
                transformer, embedding.flatten(2), added, position.flatten(2), tokens
            )
        _, no_mask = self.prompt_encoder(None, None, None)
        # Pixel by pixel in memory, as the transformer reads them: else each of its products copies them.
        position, image = (
            one.contiguous(memory_format=torch.channels_last) for one in (position, embedding + no_mask)
        )
        tokens, pixels = transformer(image, position.expand_as(image), tokens)
        return tokens[:, 1:], pixels

    def compilable(self) -> list[nn.Module]:
        """Return the blocks of a plain transformer, alike and so compiled once, and the decoder's parts.

        A frozen encoder runs once, and what is left of a step is too short for a compilation to pay.
        """
        blocks = getattr(self.encoder, "blocks", None)
        if blocks is None or not any(weight.requires_grad for weight in self.encoder.parameters()):
            return []
        return [*blocks, self.mask_decoder.transformer, self.mask_decoder.output_upscaling]

    def load_decoder(self, state: dict[str, Tensor], heads: Literal["pretrained", "random"]) -> None:
        """Load SAM's prompt encoder and mask decoder from a checkpoint's state.

        Its four mask tokens and their heads become those of the first four classes; further classes
        keep their initial ones, and with "random" heads all do, as in SAMed.
        """
        own = self.state_dict()
        parts = ("prompt_encoder.", "mask_decoder.")
        wanted = {k: v for k, v in state.items() if k.startswith(parts) and k in own}
        if heads == "random":
            wanted = {k: v for k, v in wanted.items() if not k.startswith(_HEADS)}
            self.load_state_dict(wanted, strict=False)
            return
        tokens = "mask_decoder.mask_tokens.weight"
        shared = min(len(own[tokens]), len(wanted[tokens]))
        wanted[tokens] = torch.cat([wanted[tokens][:shared], own[tokens][shared:]])
        # The quality head has one output a mask; it is never used here.
        wanted = {k: v for k, v in wanted.items() if v.shape == own[k].shape}
        self.load_state_dict(wanted, strict=False)


def check_size(size: int) -> None:
    """Raise HarnessError unless the side is a multiple of the encoder's stride."""
    if size % STRIDE:
        raise HarnessError(
            f"cohort.size {size}: SAM needs a multiple of {STRIDE}; use {size // STRIDE * STRIDE}."
        )
