"""The rows of networks: encoders, decoders, whole steps, the harness's own part of one."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pairs import Row, Work

if TYPE_CHECKING:
    import torch

    from harness import backbones, protocol

    Trained = tuple[Callable[[torch.Tensor], torch.Tensor], torch.optim.Optimizer]
    """A network's logits of images, and the rule by which its weights are trained."""


def step() -> Iterator[Row]:
    """An epoch of a frozen encoder's decoder in the harness's loop, and in a loop that does nothing else."""
    import torch
    from card import made_up

    from harness import backbones, protocol
    from harness.plugin import declared, discovery
    from harness.plugin.losses import segmentation_loss
    from harness.training import fit, optimiser, side
    from harness.training.checkpoint import Checkpoint
    from harness.training.device import prepare_torch
    from harness.training.train import Inputs, Setting, job_of

    chosen = protocol.load("quick")
    recipe = chosen.recipe.model_copy(update={"epochs": 1})
    size, batch, steps = chosen.cohort.size, recipe.batch_size, 30
    prepare_torch(1)
    torch.manual_seed(0)
    network = backbones.build(chosen.backbone, 3, size, None)
    start = fit.trained_state(network)
    cohort = made_up(steps * batch, size)
    images = torch.from_numpy(np.ascontiguousarray(cohort.images)).movedim(-1, 1).float() / 255
    with torch.no_grad():
        parts = zip(*map(network.encode, images.split(batch)), strict=True)
        # As a protocol's embeddings are kept.
        maps = [torch.cat(part).contiguous().half() for part in parts]
    about = declared.of(kind := discovery.load(plugin := discovery.find("erm")), plugin)
    setting = Setting(
        backbone=chosen.backbone, recipe=recipe, n_classes=3, size=size, name="erm",
        hyper_parameters=about.defaults, attribute=None, seed=0, finetunes=False,
    )  # fmt: skip
    inputs = Inputs(cohort, [one.numpy()[None] for one in maps], None, None)
    cpu, floats = torch.device("cpu"), [one.float() for one in maps]

    def ours() -> None:
        fit.load_trained(network, start)
        with tempfile.TemporaryDirectory() as folder:
            kept = Checkpoint(Path(folder) / "none.pt")
            make = lambda told: side.build(kind, told)  # noqa: E731
            fit.fit(job_of(setting, make, inputs, network, cpu, kept, lambda *_: None, None))

    def theirs() -> None:
        fit.load_trained(network, start)
        network.train()
        weights = [{"params": [one for one in network.parameters() if one.requires_grad]}]
        rule = optimiser.build(recipe, weights, recipe.learning_rate)
        for at in range(0, steps * batch, batch):
            logits, _ = network.decode(tuple(one[at : at + batch] for one in floats))
            small = [slice(None, None, size // side) for side in logits.shape[-2:]]
            masks = torch.from_numpy(cohort.masks[at : at + batch][:, *small].copy()).long()
            rule.zero_grad(set_to_none=True)
            segmentation_loss(logits, masks, recipe.dice_weight).backward()
            rule.step()

    yield Row(
        "an epoch of MobileSAM's decoder, 256 px, batch 8", "forward, loss, backward and optimiser alone"
    ).measure(ours, theirs, 3)


def decoder() -> Iterator[Row]:
    """A step of MobileSAM's decoder, and the same where somebody listens to its parts: as SAM computes it."""
    import torch

    from harness import backbones, protocol
    from harness.plugin.losses import segmentation_loss
    from harness.training import optimiser
    from harness.training.device import prepare_torch

    prepare_torch(1)
    for name in ("quick", "planted"):
        chosen = protocol.load(name)
        side = chosen.cohort.size // 16
        batch = chosen.recipe.batch_size
        maps = torch.randn(batch, 256, side, side)
        masks = torch.randint(0, 3, (batch, 4 * side, 4 * side))

        def steps(listened: bool, size: int, maps: torch.Tensor, masks: torch.Tensor) -> Work:
            torch.manual_seed(0)
            network = backbones.build(chosen.backbone, 3, size, None).train()  # noqa: B023 - called at once
            if listened:
                for part in (network.mask_decoder.transformer, network.mask_decoder.output_upscaling):
                    part.register_forward_hook(lambda *_: None)
            weights = [{"params": [one for one in network.parameters() if one.requires_grad]}]
            rule = optimiser.build(chosen.recipe, weights, 1e-4)  # noqa: B023

            def work() -> None:
                for _ in range(4):
                    rule.zero_grad(set_to_none=True)
                    segmentation_loss(network.decode((maps,))[0], masks, 0.8).backward()
                    rule.step()

            return work

        size = chosen.cohort.size
        row = Row(f"a step of MobileSAM's decoder, {size} px", "as segment_anything computes it")
        yield row.measure(steps(False, size, maps, masks), steps(True, size, maps, masks), 7)


def vit() -> Iterator[Row]:
    """A step of SAM ViT-B with LoRA, the encoder's adapters and the decoder trained, beside plain SAM's."""
    import torch

    from harness import protocol
    from harness.plugin.losses import segmentation_loss
    from harness.training.device import prepare_torch

    chosen = protocol.load("fairseg")
    prepare_torch(1)
    for size, precision in ((256, "float32"), (256, "bfloat16"), (512, "float32")):
        torch.manual_seed(0)
        images, masks = torch.rand(2, 3, size, size), torch.randint(0, 3, (2, size // 4, size // 4))

        def step(
            made: Trained, kind: str, images: torch.Tensor = images, masks: torch.Tensor = masks
        ) -> Work:
            forward, rule = made

            def work() -> None:
                rule.zero_grad(set_to_none=True)
                with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
                    logits = forward(images)
                segmentation_loss(logits.float(), masks, 0.8).backward()
                rule.step()

            return work

        row = Row(
            f"a step of SAM ViT-B with LoRA, {size} px, batch 2, {precision}",
            "as segment_anything and SAMed compute it, float32",
        )
        yield row.measure(step(_ours(chosen, size), precision), step(_plain(chosen, size), "float32"), 3)


def _ours(chosen: protocol.Protocol, size: int) -> Trained:
    from harness import backbones
    from harness.training import optimiser

    network = backbones.build(chosen.backbone, 3, size, None).train()
    weights = [{"params": [one for one in network.parameters() if one.requires_grad]}]
    return lambda images: network(images)[0], optimiser.build(chosen.recipe, weights, 1e-4)


def _plain(chosen: protocol.Protocol, size: int) -> Trained:
    """Return the same of segment_anything's modules and SAMed's adapters alone."""
    import torch
    from segment_anything.modeling import ImageEncoderViT
    from torch import nn

    from harness import backbones

    class Adapted(nn.Module):
        def __init__(self, qkv: nn.Linear, rank: int) -> None:
            super().__init__()
            self.qkv, self.width = qkv, qkv.in_features
            self.down = nn.ModuleList(nn.Linear(self.width, rank, bias=False) for _ in "qv")
            self.up = nn.ModuleList(nn.Linear(rank, self.width, bias=False) for _ in "qv")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = self.qkv(x)
            made[..., : self.width] += self.up[0](self.down[0](x))
            made[..., -self.width :] += self.up[1](self.down[1](x))
            return made

    encoder = ImageEncoderViT(
        img_size=size, depth=12, embed_dim=768, num_heads=12, mlp_ratio=4, out_chans=256, qkv_bias=True,
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=14,
        global_attn_indexes=(2, 5, 8, 11),
    ).requires_grad_(False)  # fmt: skip
    for block in encoder.blocks:
        block.attn.qkv = Adapted(block.attn.qkv, chosen.backbone.rank)
    # Prompt encoder and mask decoder are segment_anything's classes; only their calls are ours elsewhere.
    parts = backbones.build(chosen.backbone, 3, size, None).train()
    prompts, decoder = parts.prompt_encoder, parts.mask_decoder

    def forward(images: torch.Tensor) -> torch.Tensor:
        maps, batch = encoder(images), len(images)
        position, (_, dense) = prompts.get_dense_pe(), prompts(None, None, None)
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(batch, -1, -1)
        tokens, pixels = decoder.transformer(maps + dense, position.expand(batch, -1, -1, -1), tokens)
        upscaled = decoder.output_upscaling(pixels.transpose(1, 2).unflatten(2, maps.shape[2:]))
        heads = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
        return torch.einsum("bkc,bchw->bkhw", torch.stack(heads, 1), upscaled)

    trained = [one for part in (encoder, prompts, decoder) for one in part.parameters() if one.requires_grad]
    return forward, torch.optim.AdamW(trained, lr=1e-4)


def encoder() -> Iterator[Row]:
    """A batch of images through MobileSAM's encoder, and the same where somebody listens: as timm has it."""
    import torch

    from harness import backbones, protocol
    from harness.training.device import prepare_torch
    from harness.training.encode import BATCH, encode

    prepare_torch(1)
    for name in ("quick", "planted"):
        chosen = protocol.load(name)
        size, cpu = chosen.cohort.size, torch.device("cpu")
        images = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)
        plain, listened = (backbones.build(chosen.backbone, 3, size, None).eval() for _ in "ab")
        listened.encoder.vit.patch_embed.register_forward_hook(lambda *_: None)

        def through(network: backbones.Backbone, images: np.ndarray = images) -> Work:
            return lambda: [encode(network, images, 0, False, cpu) for _ in range(4)]  # noqa: B023 - the CPU

        row = Row(f"{BATCH} images of {size} px through MobileSAM's encoder", "as timm computes it")
        yield row.measure(through(plain), through(listened), 7)
