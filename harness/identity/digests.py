"""Digests of what enters a trial's id by value and by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def trial_id(identity: Mapping[str, Any]) -> str:
    """Return the id of a trial with this identity: the first 20 digits of the SHA-256 of its JSON."""
    return sha256(json.dumps(identity, sort_keys=True).encode())[:20]


def sample_digests(array: np.ndarray) -> np.ndarray:
    """Return the BLAKE2b-128 of each sample's bytes: uint8 [N, 16] of an array [N, ...]."""
    rows = (hashlib.blake2b(np.ascontiguousarray(one).tobytes(), digest_size=16).digest() for one in array)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(array), 16)


def data_digest(array: np.ndarray | Iterable[str]) -> str:
    """Return the SHA-256 over an array's shape and bytes, or over texts, in their order."""
    if not isinstance(array, np.ndarray):
        return sha256(json.dumps(list(array)).encode())
    return sha256(f"{array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 digits."""
    return hashlib.sha256(content).hexdigest()
