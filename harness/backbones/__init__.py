"""Segmentation networks: one file a network, known by its name and its function `build`."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness import identity
from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.backbones.backbone import Backbone
    from harness.protocol import BackboneSpec

__all__ = ["build", "check_name", "file_of", "names"]


@cache
def names() -> tuple[str, ...]:
    """Return the backbones that there are: the files of this folder that have a `build`."""
    found = [file for file in Path(__file__).parent.glob("*.py") if file.stem != "__init__" and _builds(file)]
    return tuple(sorted(file.stem.replace("_", "-") for file in found))


def build(spec: BackboneSpec, n_classes: int, size: int, weights: Path | None) -> Backbone:
    """Return the network of a protocol's `[backbone]`.

    `weights` is the checkpoint that `harness.backbones.weights.required` names, or None; what it does not
    hold is drawn from torch's global generator, which the caller seeds. Logits have `n_classes`
    channels, images are `size` pixels on each side. Raises HarnessError for an unknown name, and
    for a variant, size or adaptation that the network does not have.
    """
    check_name(spec)
    # By name, so that a trial depends on the file of its own network and on no other's.
    module = importlib.import_module(f"harness.backbones.{spec.name.replace('-', '_')}")
    network: Backbone = module.build(spec, n_classes, size, weights)
    return network


def check_name(spec: BackboneSpec) -> None:
    """Raise HarnessError unless there is such a backbone."""
    if spec.name not in names():
        raise HarnessError(
            f"backbone.name: there is no backbone '{spec.name}'.{did_you_mean(spec.name, names())}"
        )


def file_of(spec: BackboneSpec) -> Path:
    """Return the file of a protocol's network."""
    return Path(__file__).resolve().with_name(spec.name.replace("-", "_") + ".py")


def _builds(file: Path) -> bool:
    body = identity.parse(file).body
    return any(isinstance(node, ast.FunctionDef) and node.name == "build" for node in body)
