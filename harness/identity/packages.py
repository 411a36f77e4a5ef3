"""Which installed packages compute what a file computes, and in which versions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.identity.imports import HARNESS, METHODS
from harness.identity.source import read
from harness.identity.syntax import module_of

# Libraries that only carry data to and fro, whose arithmetic is in no prediction.
_CARRIERS = {"docker", "packaging", "pandas", "platformdirs", "pyarrow", "pydantic", "rich", "safetensors"}

# Of what a package requires, the libraries that compute; the rest (requests, tqdm) does not.
_COMPUTE = {"numpy", "scipy", "segmentation-models-pytorch", "timm", "torch", "torchvision"}


def libraries(files: Iterable[Path]) -> dict[str, str]:
    """Return the installed packages whose arithmetic the files reach by import, to their versions.

    What such a package requires counts too: a network of one is often made of layers of another.
    """
    files = list(files)
    names = {name for path in files for name in module_of(read(path), str(path)).imported}
    tops = {name.split(".")[0] for name in names} - {"", HARNESS.name, METHODS, *sys.stdlib_module_names}
    beside = {part for path in files if HARNESS not in path.parents for part in (path.stem, path.parent.name)}
    # A module beside a method is no package, and need not be looked for among all that is installed.
    tops -= {top for top in tops & beside if _version(top) == "none"}
    direct = {dist for top in tops for dist in _distributions(top)}
    return versions(sorted((direct | _computing(direct)) - _CARRIERS))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed here, "none" for one that is not."""
    return {name: _version(name) for name in packages}


@cache
def _distributions(top: str) -> list[str]:
    """Return the distributions of a module's first name: nearly always the one that is called alike."""
    if _version(top) != "none":
        return [canonicalize_name(top)]
    # Reads the file lists of all that is installed: a second or more.
    return [canonicalize_name(name) for name in packages_distributions().get(top, ())]


def _computing(packages: Iterable[str]) -> set[str]:
    """Return those of the harness's computing libraries that packages require, directly or not."""
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        for name in _required(waiting.pop()) & _COMPUTE - found:
            found.add(name)
            waiting.append(name)
    return found


@cache
def _required(package: str) -> set[str]:
    with suppress(PackageNotFoundError):
        wanted = [Requirement(text) for text in requires(package) or ()]
        here = (one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""}))
        return {canonicalize_name(one.name) for one in here}
    return set()


def _version(package: str) -> str:
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return "none"
