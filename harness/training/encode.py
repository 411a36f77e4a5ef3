"""What a frozen encoder makes of images: how cached embeddings are laid out, filled and opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from harness import arrays
from harness.backbones.backbone import Backbone
from harness.store import files, formats
from harness.training.augment import dihedral

# Fixed, because the last bits of a batched product depend on it; small, because an allocation
# above 32 MiB costs a page fault for every 4 KiB of it, every time.
BATCH = 4

DONE = "done.npy"
"""The table of the batches that are filled, in a folder that is not whole yet."""


def encode(
    encoder: Backbone, images: np.ndarray, variant: int, bfloat16: bool, device: torch.device
) -> list[np.ndarray]:
    """Return the encoder's maps of images under a dihedral variant: float16 [B, d, s, s] each.

    images: uint8 [B, S, S, 3], at most `BATCH` of them.
    """
    pixels = torch.from_numpy(images).to(device).movedim(-1, 1).float() / 255
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        maps = encoder.encode(dihedral(pixels, variant))
    return [one.half().cpu().numpy() for one in maps]


def lay_out(folder: Path, encoder: Backbone, images: np.ndarray, variants: int) -> None:
    """Write the empty arrays that `fill` fills, and which batches of which variant are done: none."""
    for i, one in enumerate(encode(encoder, np.array(images[:1]), 0, False, torch.device("cpu"))):
        shape = (variants, len(images), *one.shape[1:])
        files.flush(files.mapped(folder / f"map{i}.npy", np.float16, shape))
    # Last, so that its presence says that the others are there.
    files.write(folder / DONE, formats.array_bytes(np.zeros((variants, batches(images)), bool)))


def batches(images: np.ndarray) -> int:
    """Return the number of batches that images are encoded in."""
    return -(-len(images) // BATCH)


def fill(
    folder: Path,
    encoder: Backbone,
    images: np.ndarray,
    shard: int,
    shards: int,
    bfloat16: bool,
    device: torch.device,
) -> None:
    """Fill every `shards`-th batch, those that are done left out.

    Batches are the same whatever the number of shards, so the bits do not depend on it.
    """
    maps = [arrays.mapped(path, "r+") for path in sorted(folder.glob("map*.npy"))]
    done = arrays.mapped(folder / DONE, "r+")
    for batch in range(shard, done.shape[1], shards):
        rows = np.arange(batch * BATCH, min((batch + 1) * BATCH, len(images)))
        for variant in np.flatnonzero(~done[:, batch]):
            encoded = encode(encoder, images[rows], int(variant), bfloat16, device)
            for target, source in zip(maps, encoded, strict=True):
                target[variant, rows] = source
                files.flush(target)
            done[variant, batch] = True


def open_maps(folder: Path, images: np.ndarray, variants: int) -> list[np.ndarray]:
    """Return one memory-mapped array a map: float16 [V, N, d, s, s], V dihedral variants.

    Empty where they are not there, cut off or garbled.
    """
    try:
        maps: list[np.ndarray] = [arrays.mapped(path) for path in sorted(folder.glob("map*.npy"))]
    except (OSError, ValueError, EOFError):
        return []
    whole = all(one.dtype == np.float16 and one.shape[:2] == (variants, len(images)) for one in maps)
    return maps if whole else []


def done(folder: Path, images: np.ndarray, variants: int) -> np.ndarray | None:
    """Return which batches are filled, bool [V, batches]; None where no table says so."""
    try:
        table: np.ndarray = arrays.load(folder / DONE)
    except (OSError, ValueError, EOFError):
        return None
    fits = table.dtype == bool and table.shape == (variants, batches(images))
    return table if fits and table.view(np.uint8).max(initial=0) <= 1 else None
