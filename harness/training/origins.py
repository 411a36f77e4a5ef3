"""The weights that a training leaves for others to start from, with a digest of what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

_DIGEST = "sha256"


def pack(state: Mapping[str, torch.Tensor]) -> bytes:
    """Return weights as a file of safetensors, whose metadata hold their digest."""
    return save(dict(state), metadata={_DIGEST: _digest(state)})


def load(file: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a file. Raises what safetensors raises, and ValueError where a number changed."""
    with safe_open(file, "pt") as opened:
        stated = (opened.metadata() or {}).get(_DIGEST)
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
    # Noise among the numbers is numbers: a training from them would end anywhere, and the method be blamed.
    if stated is not None and stated != _digest(state):
        raise ValueError("its weights are not those that were written")
    return state


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        sha.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data if tensor.numel() else b"")
    return sha.hexdigest()
