"""What a folder of records and the cache take, and the trained weights that nothing will start from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.plugin import discovery
from harness.running.paths import Paths
from harness.running.prepare import Prepared
from harness.store import files

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Part:
    """A folder, its bytes, and one line of what it is for."""

    path: Path
    size: int
    what: str


@dataclass(frozen=True)
class Weights:
    """What became of a run's trained weights: files and bytes, kept and removed."""

    kept: int = 0
    kept_bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0


_RUNS = {
    "records": "the trials' scores, predictions, curves and logs: what the site is made of",
    "protocols": "the boards: which trial is in which cell, and the test images that may be shown",
    "archive": "boards that were set aside",
    "weights": "trained weights that other methods start from; trained again where they are gone",
    "tuning": "the tries of harness tune",
    "parts": "what the ids were made of, for harness run --dry-run --why",
    "slurm": "logs and tasks of Slurm's jobs",
    "tensorboard": "curves for TensorBoard",
    "work": "checkpoints and logs of trials that have not ended: they go on from there",
}

_CACHE = {
    "weights": "pretrained weights: harness weights fetch gets them again",
    "cohorts": "images and masks as arrays: read again from the cohort's files where they are gone",
    "embeddings": "outputs of frozen encoders: computed again where they are gone",
    "digests": "digests of the arrays: computed again where they are gone",
    "site": "tables, figures and pictures of sites: computed again where they are gone",
    "sandbox": "what a container is given: made again where it is gone",
}


def prune(prepared: Prepared) -> Weights:
    """Remove the weights of a plan's trials that no known method starts from; say what stays and goes.

    A method that comes later and starts from one of these has it trained again.
    """
    wanted = discovery.origins() | {one.about.starts_from for one in prepared.plan.trials.values()}
    waited_for = {one.starts_from for one in prepared.plan.trials.values()}
    counts = [0, 0, 0, 0]
    for trial in prepared.plan.trials.values():
        file = prepared.store.weights(trial.id)
        if not file.is_file():
            continue
        stays = trial.id in waited_for or (trial.plugin.name in wanted and not trial.control)
        place = 0 if stays else 2
        counts[place] += 1
        counts[place + 1] += file.stat().st_size
        if not stays:
            files.remove(file)
    return Weights(*counts)


def peak(prepared: Prepared, device: torch.device) -> int:
    """Return the most bytes of a GPU that one of this plan's trials took before, 0 where nothing tells.

    One that shared its training with other cards took less of each.
    """
    from harness.training.device import device_name

    if device.type == "cpu":
        return 0
    store, here = prepared.store, device_name(device)
    costs = [store.record(one).cost for one in prepared.plan.trials if store.is_done(one)]
    alone = (cost for cost in costs if cost.device == here and cost.cards == 1)
    return max((cost.peak_memory_bytes for cost in alone), default=0)


def parts(paths: Paths) -> list[Part]:
    """Return the parts of a folder of records and of the cache that are there, and what is in none."""
    return [*_parts(paths.runs, _RUNS), *_parts(paths.cache, _CACHE)]


def _parts(root: Path, known: dict[str, str]) -> list[Part]:
    found = [Part(root / name, size_of(root / name), what) for name, what in known.items()]
    others = [path for path in (root.iterdir() if root.is_dir() else []) if path.name not in known]
    rest = sum(size_of(path) for path in others)
    if rest:
        found.append(Part(root, rest, "all else there"))
    return [part for part in found if part.size]


def size_of(path: Path) -> int:
    """Return the bytes of a file or of all files below a folder; what vanishes meanwhile counts 0."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total + (path.stat().st_size if path.is_file() else 0)


def readable(size: int) -> str:
    """Return a size for a person: `680 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.{0 if size >= 10 * factor else 1}f} {unit}"
    return f"{size} B"
