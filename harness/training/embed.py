"""The embeddings of a frozen encoder: computed once a cohort, cached by content, memory-mapped."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from harness import identity
from harness.backbones import build, weights
from harness.backbones.backbone import Backbone
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.protocol import Protocol
from harness.training.augment import VARIANTS, dihedral

# Fixed, because the last bits of a batched product depend on it; small, because an allocation
# above 32 MiB costs a page fault for every 4 KiB of it, every time.
_BATCH = 4

# What decides the encoder's bits beside its weights and our source.
_LIBRARIES = ("segment-anything", "timm", "torch")


def are_cached(protocol: Protocol, cohort: Cohort, cache: Path, device: str) -> bool:
    """Tell whether the embeddings of a protocol's cohort, as a type of device gives them, are complete."""
    return _folder(protocol, cohort, cache, device).is_dir()


def open_embeddings(protocol: Protocol, cohort: Cohort, cache: Path, device: str) -> list[np.ndarray]:
    """Return one memory-mapped array a map: float16 [V, N, d, s, s], V dihedral variants.

    Raises HarnessError where `embed_shard` and `finish` have not run.
    """
    folder = _folder(protocol, cohort, cache, device)
    if not folder.is_dir():
        raise HarnessError(f"{folder}: the embeddings are gone; run again.")
    return [np.load(path, mmap_mode="r") for path in sorted(folder.glob("map*.npy"))]


@contextmanager
def locked(protocol: Protocol, cohort: Cohort, cache: Path, device: str) -> Iterator[None]:
    """Keep other processes from computing the same embeddings; a process that dies lets go."""
    lock = _folder(protocol, cohort, cache, device).with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare(protocol: Protocol, cohort: Cohort, cache: Path, device: str) -> None:
    """Lay out the empty arrays that the shards fill; those of an interrupted run are kept."""
    part = _part(protocol, cohort, cache, device)
    if (part / "done.npy").is_file():
        return
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shape = (VARIANTS[protocol.recipe.augmentation], len(cohort.images))
    with torch.inference_mode():
        maps = _encoder(protocol, cache).encode(_images(cohort, np.arange(1), torch.device("cpu")))
    for i, one in enumerate(maps):
        np.lib.format.open_memmap(
            part / f"map{i}.npy", "w+", np.float16, shape=(*shape, *one.shape[1:])
        ).flush()
    batches = -(-len(cohort.images) // _BATCH)
    # Last, so that its presence says that the others are there.
    np.save(part / "done.part.npy", np.zeros((shape[0], batches), bool))
    os.replace(part / "done.part.npy", part / "done.npy")


@torch.inference_mode()
def embed_shard(
    protocol: Protocol, cohort: Cohort, cache: Path, shard: int, shards: int, device: torch.device
) -> None:
    """Fill every `shards`-th batch, those that are done left out.

    Batches are the same whatever the number of shards, so the bits do not depend on it.
    """
    part = _part(protocol, cohort, cache, device.type)
    maps = [np.load(path, mmap_mode="r+") for path in sorted(part.glob("map*.npy"))]
    done = np.load(part / "done.npy", mmap_mode="r+")
    encoder = _encoder(protocol, cache).to(device)
    bfloat16 = protocol.recipe.precision == "bfloat16"
    for batch in range(shard, done.shape[1], shards):
        rows = np.arange(batch * _BATCH, min((batch + 1) * _BATCH, len(cohort.images)))
        for variant in np.flatnonzero(~done[:, batch]):
            images = dihedral(_images(cohort, rows, device), int(variant))
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                encoded = encoder.encode(images)
            for target, source in zip(maps, encoded, strict=True):
                target[variant, rows] = source.half().cpu().numpy()
                target.flush()
            done[variant, batch] = True


def finish(protocol: Protocol, cohort: Cohort, cache: Path, device: str) -> None:
    """Put complete embeddings in their place. Raises RuntimeError if a batch is missing."""
    part, folder = (place(protocol, cohort, cache, device) for place in (_part, _folder))
    if not np.load(part / "done.npy").all():
        raise RuntimeError(f"{part}: not every batch was embedded")
    # In this order a kill between the two costs nothing: without the table all would be embedded again.
    os.replace(part, folder)
    (folder / "done.npy").unlink()


def _encoder(protocol: Protocol, cache: Path) -> Backbone:
    name = weights.required(protocol.backbone)
    file = None if name is None else weights.find(name, cache)
    return build(protocol.backbone, protocol.n_classes, protocol.cohort.size, file).eval()


def _images(cohort: Cohort, rows: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(cohort.images[rows]).to(device).movedim(-1, 1).float() / 255


def _folder(protocol: Protocol, cohort: Cohort, cache: Path, device: str) -> Path:
    """Return the folder named by the hash of all that the embeddings depend on."""
    name = weights.required(protocol.backbone)
    content = {
        "cohort": cohort.stored,
        "backbone": protocol.backbone.model_dump(exclude={"rank"}),
        "weights": None if name is None else weights.CHECKPOINTS[name].sha256,
        "variants": VARIANTS[protocol.recipe.augmentation],
        "precision": protocol.recipe.precision,
        "threads": protocol.recipe.threads,
        "device": device,
        "source": identity.digest(_source_files()),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    return (
        cache / "embeddings" / hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    )


def _part(protocol: Protocol, cohort: Cohort, cache: Path, device: str) -> Path:
    folder = _folder(protocol, cohort, cache, device)
    return folder.with_name(folder.name + ".part")


def _source_files() -> Iterator[Path]:
    yield from sorted((identity.HARNESS / "backbones").glob("*.py"))
    yield Path(__file__)
