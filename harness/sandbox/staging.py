"""What goes into a container: one method, training data, test images. And nothing else."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness import arrays, identity
from harness.cohorts.cohort import Cohort
from harness.plugin.discovery import Plugin
from harness.running.plan import Trial
from harness.running.trial import setting
from harness.sandbox.inside import INSIDE
from harness.store import files, formats, names
from harness.training.train import Inputs

_HARNESS = identity.HARNESS.resolve()

Mounts = dict[str, Path]
"""Path under `INSIDE` to the file or folder of the host that is seen there."""


def stage_plugin(plugin: Plugin, folder: Path) -> tuple[Mounts, str]:
    """Copy a method's file and all that it imports; return the mounts and the file's path inside."""
    file = plugin.file.resolve()
    target, places = folder / "plugin", identity.places(file)
    for name, path in places.items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(identity.read(path))
    _copy_harness(folder / "harness")
    _readable(folder)
    mounts = {"plugin": target, "harness": folder / "harness"}
    return mounts, f"{INSIDE}/plugin/{next(name for name, path in places.items() if path == file)}"


def stage_trial(trial: Trial, inputs: Inputs, cache: Path, device: str, folder: Path) -> Mounts:
    """Lay a trial out under `folder`; return all that its container sees.

    The cohort's masks come from a copy in which those of the test samples are blank, made once a
    cohort; the test rows of its table have neither name, patient nor groups, but for the groups of the
    trial's attribute where the method declares that it reads them.
    """
    mounts, file = stage_plugin(trial.plugin, folder)
    cohort = inputs.cohort
    told = asdict(setting(trial))
    kept = trial.attribute if told["at_test"] else None
    _subjects(cohort, kept).to_parquet(folder / names.SUBJECTS, index=False)
    for part in ("backbone", "recipe"):
        told[part] = getattr(trial.protocol, part).model_dump(mode="json")
    job = {
        "setting": told,
        "structures": [trial.protocol.classes(name) for name in trial.protocol.structures],
        "plugin": {"name": trial.plugin.name, "file": file},
        "groups": cohort.groups,
        "maps": len(inputs.maps),
        "checkpoint": inputs.checkpoint is not None,
        "device": device,
        "state": not trial.about.adapts,
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    mounts |= {
        "job.json": folder / "job.json",
        f"cohort/{names.SUBJECTS}": folder / names.SUBJECTS,
        "cohort/images.npy": _file(cohort.images),
        "cohort/masks.npy": _blank_copy(cohort, cache),
    }
    mounts |= {f"maps/map{i}.npy": _file(one) for i, one in enumerate(inputs.maps)}
    if inputs.checkpoint is not None:
        mounts["checkpoint"] = inputs.checkpoint
    if inputs.origin is not None:
        mounts[f"origin{names.WEIGHTS}"] = inputs.origin
    _readable(folder)
    return mounts


def _copy_harness(target: Path) -> None:
    """Copy the harness's files that run inside, but none that knows how a cohort is read or drawn."""
    for path in _inside():
        copy = target / path.relative_to(_HARNESS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


@functools.cache
def inside_digest() -> str:
    """Return the digest of the harness's files that run inside."""
    return identity.data_digest(path.read_text(encoding="utf-8") for path in _inside())


@functools.cache
def _inside() -> list[Path]:
    found = set(identity.local_files(_HARNESS / "sandbox/inside.py"))
    cohorts = _HARNESS / "cohorts"
    # Without its __init__, which imports every source, the folder is a namespace that holds the type alone.
    found = {path for path in found if cohorts not in path.parents} | {cohorts / "cohort.py"}
    return sorted(found | set(_HARNESS.glob("backbones/*.py")))


def _subjects(cohort: Cohort, kept: str | None) -> Any:
    """Return the table of samples, test rows without anything but the groups of the attribute kept."""
    subjects = cohort.subjects.copy()
    test = cohort.rows("test")
    for column in subjects.columns:
        if column in ("sample", "patient"):
            subjects.loc[test, column] = ""
        elif column not in ("split", kept):
            subjects.loc[test, column] = None
    return subjects


def _blank_copy(cohort: Cohort, cache: Path) -> Path:
    path = cache / "sandbox" / f"{cohort.digest}.npy"
    if not _is_whole(path, cohort):
        masks = np.array(cohort.masks)
        masks[cohort.rows("test")] = 0
        files.make(path.parent)
        files.write(path, formats.array_bytes(masks))
    return path


def _is_whole(path: Path, cohort: Cohort) -> bool:
    """Tell whether a copy of the masks is there, and not cut off."""
    try:
        masks = arrays.mapped(path)
    except (OSError, ValueError, EOFError):
        return False
    return bool(masks.dtype == cohort.masks.dtype and masks.shape == cohort.masks.shape)


def _file(array: np.ndarray) -> Path:
    """Return the file that an array is mapped from."""
    name = getattr(array, "filename", None)
    assert name is not None, "arrays of a cohort are memory-mapped"
    return Path(name)


def _readable(folder: Path) -> None:
    """Let the container's user, who is nobody here, read what lies in a folder."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def nearby(mounts: Mapping[str, Path], folder: Path) -> Mounts:
    """Return mounts whose files are links in a folder of this job, where the disk allows.

    A container sees where on the host its mounts come from: so it sees a temporary folder and not the paths
    of somebody's home. A file on another disk is mounted from where it lies.
    """
    found, beside = {}, folder / "mounts"
    for name, path in mounts.items():
        found[name] = path
        if folder.name and path.is_file() and not path.resolve().is_relative_to(folder.resolve()):
            beside.mkdir(exist_ok=True, mode=0o755)
            with contextlib.suppress(OSError):
                os.link(path.resolve(), link := beside / f"{len(found)}")
                found[name] = link
    return found


def bind(mounts: Mapping[str, Path]) -> list[Any]:
    """Return the mounts as the Docker SDK takes them, all read-only."""
    from docker.types import Mount

    return [
        Mount(f"{INSIDE}/{name}", str(path.resolve()), type="bind", read_only=True)
        for name, path in sorted(mounts.items())
    ]
