"""Whether this machine can do what the harness asks of it, and what would mend what it cannot."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from harness.backbones import weights
from harness.errors import HarnessError, refused
from harness.running.paths import Paths
from harness.store import claims, files

Verdict = Literal["well", "note", "ill"]

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "pandas", "pyarrow", "filelock")
EXTRAS = {"docker": "sandbox", "submitit": "slurm", "ray": "ray", "tensorboard": "tensorboard"}

_ROOM = 5e9
"""Bytes of a disk below which a run may find it full."""

_DRIFT = 5.0
"""Seconds by which a file system's clock may differ from this machine's and nobody wonders about a date."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is well, what was found, and what mends it where it is not."""

    what: str
    verdict: Verdict
    found: str
    fix: str = ""


def examine(paths: Paths) -> Iterator[Finding]:
    """Yield what there is to say, one thing after another."""
    looks: tuple[Callable[[Paths], Iterator[Finding]], ...] = (
        _versions, _gpu, _weights, _engine, _folders, _clock
    )  # fmt: skip
    for look in looks:
        try:
            yield from look(paths)
        except (OSError, HarnessError) as error:
            said = refused(error) if isinstance(error, OSError) else str(error)
            yield Finding(look.__name__.strip("_"), "ill", said, "see the sentence")


def _versions(paths: Paths) -> Iterator[Finding]:
    yield Finding("python", "well", f"{platform.python_version()} on {platform.platform()}")
    for name in LIBRARIES:
        found = _version(name)
        fix = "" if found else "pip install --editable ."
        yield Finding(name, "well" if found else "ill", found or "not installed", fix)
    for name, extra in EXTRAS.items():
        found = _version(name)
        fix = "" if found else f"only if you need it: pip install 'equity-leaderboard[{extra}]'"
        yield Finding(name, "well" if found else "note", found or "not installed", fix)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _gpu(paths: Paths) -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        fix = "trials run on the CPU; with an NVIDIA GPU here, install its driver and a torch for its CUDA"
        yield Finding("gpu", "note", "none that torch can use", fix)
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        said = f"{torch.cuda.get_device_name(number)}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        busy = free < total / 2
        fix = "nvidia-smi names the processes that hold the rest" if busy else ""
        yield Finding(f"gpu {number}", "note" if busy else "well", said, fix)


def _weights(paths: Paths) -> Iterator[Finding]:
    for name in weights.CHECKPOINTS:
        try:
            found = str(weights.find(name, paths.cache))
            yield Finding(f"weights {name}", "well", found)
        except HarnessError as error:
            fix = f"where a protocol needs it: harness weights fetch {name}"
            yield Finding(f"weights {name}", "note", str(error).split(";")[0], fix)


def _engine(paths: Paths) -> Iterator[Finding]:
    if shutil.which("docker") is None:
        fix = "only for strangers' methods: install Docker, then `harness sandbox build`"
        yield Finding("container engine", "note", "no docker on the path", fix)
    elif not os.access("/var/run/docker.sock", os.W_OK) and "DOCKER_HOST" not in os.environ:
        yield Finding(
            "container engine",
            "note",
            "its socket is not there, or not yours to write",
            "start dockerd, or have your user added to the group docker",
        )
    else:
        yield Finding("container engine", "well", "docker")
    if shutil.which("sbatch"):
        yield Finding("slurm", "well", "sbatch is here: --executor slurm")


def _folders(paths: Paths) -> Iterator[Finding]:
    for what, folder in (("runs", paths.runs), ("cache", paths.cache)):
        there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
        free = shutil.disk_usage(there).free
        fix = (
            "" if free > _ROOM else f"make room there, or give another folder with --{what}; harness gc helps"
        )
        yield Finding(f"{what}: disk", "ill" if fix else "well", f"{free / 1e9:.1f} GB free in {folder}", fix)
        yield _writable(what, folder, there)


def _writable(what: str, folder: Path, there: Path) -> Finding:
    """Try what a store does: make a file that only one can make, and give it its time."""
    probe = files.probe(there)
    try:
        files.mark(probe, b"")
        try:
            files.mark(probe, b"")
            return Finding(
                f"{what}: files",
                "ill",
                f"{folder}: two processes may make one file there",
                "use a file system with exclusive creation, as NFSv3 and later have",
            )
        except FileExistsError:
            files.touch(probe)
    except OSError as error:
        fix = f"give your user the right to write there, or give another folder with --{what}"
        return Finding(f"{what}: files", "ill", refused(error), fix)
    finally:
        files.remove(probe)
    return Finding(f"{what}: files", "well", "are made once and renamed whole")


def _clock(paths: Paths) -> Iterator[Finding]:
    there = next(path for path in (paths.runs.resolve(), *paths.runs.resolve().parents) if path.exists())
    off = claims.now(there) - time.time()
    well = abs(off) < _DRIFT
    fix = (
        "" if well else "no trial is lost by it, but dates are wrong: set this machine's clock (chrony, ntp)"
    )
    yield Finding(
        "clock", "well" if well else "note", f"{off:+.1f} s between the store's and this one's", fix
    )
