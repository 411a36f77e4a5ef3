"""The embeddings of a frozen encoder: computed once a cohort, cached by content, memory-mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from harness import backbones, identity
from harness.backbones import weights
from harness.backbones.backbone import Backbone
from harness.cohorts.cohort import Cohort
from harness.errors import HarnessError
from harness.protocol import BackboneSpec, Protocol
from harness.store import claims, contents, files
from harness.training import encode
from harness.training.augment import VARIANTS


def are_cached(protocol: Protocol, cohort: Cohort, cache: Path, device: torch.device) -> bool:
    """Tell whether the embeddings of a protocol's cohort, as a type of device gives them, are complete."""
    return bool(_maps(_folder(protocol, cohort, cache, device), protocol, cohort))


def counter(
    protocol: Protocol, cohort: Cohort, cache: Path, device: torch.device
) -> Callable[[], tuple[int, int]]:
    """Return what tells, whenever it is asked, how many batches the shards have filled, and of how many."""
    part = _part(protocol, cohort, cache, device)

    def count() -> tuple[int, int]:
        done = _done(part, protocol, cohort)
        return (0, 0) if done is None else (int(done.sum()), done.size)

    return count


def open_embeddings(
    protocol: Protocol, cohort: Cohort, cache: Path, device: torch.device
) -> list[np.ndarray]:
    """Return one memory-mapped array a map: float16 [V, N, d, s, s], V dihedral variants.

    Raises HarnessError where `embed_shard` and `finish` have not run, or a map is damaged.
    """
    folder = _folder(protocol, cohort, cache, device)
    maps = _maps(folder, protocol, cohort)
    if not maps:
        raise HarnessError(f"{folder}: the embeddings are gone; run again.")
    return maps


def _maps(folder: Path, protocol: Protocol, cohort: Cohort) -> list[np.ndarray]:
    return encode.open_maps(folder, cohort.images, VARIANTS[protocol.recipe.augmentation])


def _done(folder: Path, protocol: Protocol, cohort: Cohort) -> np.ndarray | None:
    return encode.done(folder, cohort.images, VARIANTS[protocol.recipe.augmentation])


def code_files(spec: BackboneSpec) -> list[Path]:
    """Return the files whose code decides what the embeddings of a backbone are."""
    return identity.reached([Path(encode.__file__), backbones.file_of(spec)])


@contextmanager
def locked(protocol: Protocol, cohort: Cohort, cache: Path, device: torch.device) -> Iterator[None]:
    """Keep other processes from computing the same embeddings; a process that dies lets go."""
    with claims.held(_folder(protocol, cohort, cache, device).with_suffix(".lock")):
        yield


def _lay_out(
    protocol: Protocol, cohort: Cohort, cache: Path, device: torch.device, encoder: Backbone
) -> None:
    """Lay out the empty arrays that the shards fill; those of an interrupted run are kept."""
    part = _part(protocol, cohort, cache, device)
    if _done(part, protocol, cohort) is not None and _maps(part, protocol, cohort):
        return
    for damaged in (part, _folder(protocol, cohort, cache, device)):
        files.remove(damaged)
    files.make(part)
    encode.lay_out(part, encoder, cohort.images, VARIANTS[protocol.recipe.augmentation])


def embed_shard(
    protocol: Protocol, cohort: Cohort, cache: Path, shard: int, shards: int, device: torch.device
) -> None:
    """Fill every `shards`-th batch, those that are done left out; lay them out where no shard has yet."""
    folder, part = (place(protocol, cohort, cache, device) for place in (_folder, _part))
    encoder = _encoder(protocol, cache)
    # By a shard, which has the network at hand: whoever plans a run need not import one.
    with claims.held(folder.with_suffix(".layout.lock")):
        _lay_out(protocol, cohort, cache, device, encoder)
    bfloat16 = protocol.recipe.precision == "bfloat16"
    encode.fill(part, encoder.to(device), cohort.images, shard, shards, bfloat16, device)


def finish(protocol: Protocol, cohort: Cohort, cache: Path, device: torch.device) -> None:
    """Put complete embeddings in their place. Raises RuntimeError if a batch is missing."""
    part, folder = (place(protocol, cohort, cache, device) for place in (_part, _folder))
    done = _done(part, protocol, cohort)
    if done is None or not done.all():
        raise RuntimeError(f"{part}: not every batch was embedded")
    # In this order a kill between the two costs nothing: without the table all would be embedded again.
    files.publish(part, folder)
    files.remove(folder / encode.DONE)


def _encoder(protocol: Protocol, cache: Path) -> Backbone:
    name = weights.required(protocol.backbone)
    file = None if name is None else weights.find(name, cache)
    return backbones.build(protocol.backbone, protocol.n_classes, protocol.cohort.size, file).eval()


def _folder(protocol: Protocol, cohort: Cohort, cache: Path, device: torch.device) -> Path:
    """Return the folder named by the hash of all that the embeddings depend on."""
    name = weights.required(protocol.backbone)
    reached = code_files(protocol.backbone)
    content = {
        "images": identity.data_digest(contents.digests(cohort.images, cache)),
        "backbone": protocol.backbone.model_dump(exclude={"rank"}),
        "weights": None if name is None else weights.CHECKPOINTS[name].sha256,
        "variants": VARIANTS[protocol.recipe.augmentation],
        "precision": protocol.recipe.precision,
        "threads": protocol.recipe.threads,
        "device": device.type,
        "code": identity.code(reached),
        "libraries": identity.libraries(reached),
    }
    return cache / "embeddings" / identity.trial_id(content)


def _part(protocol: Protocol, cohort: Cohort, cache: Path, device: torch.device) -> Path:
    folder = _folder(protocol, cohort, cache, device)
    return folder.with_name(folder.name + files.PART)
