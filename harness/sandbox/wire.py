"""How results leave a container: one stream of known length, read as data and nothing else.

    MAGIC, then the length of a JSON header (8 bytes, big-endian), the header, the parts one after another

The header's "parts" name the parts and their lengths. Nothing is unpacked, unpickled or written to a path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAGIC = b"equity-sandbox-1\n"
_LENGTH = 8


class BadResult(ValueError):
    """What came out of the container is not a result."""


def encode(header: Mapping[str, Any], parts: Mapping[str, bytes]) -> list[bytes]:
    """Return the chunks of a stream."""
    lengths = {name: len(part) for name, part in parts.items()}
    text = json.dumps({**header, "parts": lengths}).encode()
    return [MAGIC, len(text).to_bytes(_LENGTH, "big"), text, *parts.values()]


def decode(stream: bytes, most_header: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return header, of at most so many bytes, and parts.

    Raises BadResult for anything that `encode` does not write.
    """
    start = len(MAGIC) + _LENGTH
    if not stream:
        raise BadResult("it left no result")
    if not stream.startswith(MAGIC) or len(stream) < start:
        raise BadResult("its result does not begin as one")
    length = int.from_bytes(stream[len(MAGIC) : start], "big")
    if length > min(most_header, len(stream) - start):
        raise BadResult(f"its result's header is longer than the result, or than {most_header:,} bytes")
    try:
        header = json.loads(stream[start : start + length].decode("utf-8"))
        lengths = {str(name): int(size) for name, size in header["parts"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadResult("its result's header is not JSON with parts") from None
    at, parts = start + length, {}
    for name, size in lengths.items():
        if size < 0 or at + size > len(stream):
            raise BadResult(f"part '{name}' of its result is shorter than it says")
        parts[name] = stream[at : at + size]
        at += size
    if at != len(stream):
        raise BadResult(f"its result has {len(stream) - at} bytes too many")
    return header, parts
