"""The line between a training and a method in another process: messages of known length, read as data.

    MAGIC, the kind (1 byte), flags (1 byte), the length of what follows (8 bytes, little-endian), and that

What follows is numbers as they lie in memory, or a text; shapes are never sent back, because who asked knows
them. Nothing is unpickled or evaluated, and no length is believed before it is compared with what is due.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"eqloss1\n"
_HEADER = struct.Struct("<8sBBQ")

TEXT = 4_000
"""Bytes of an error's sentence at most."""


class Kind(IntEnum):
    """What a message is. The first seven, MIX and WEIGH go to the method, the others come from it."""

    START = 1
    BEGIN = 2
    STEP = 3
    IMAGES = 4
    END = 5
    SAVE = 6
    RESUME = 7
    READY = 8
    ANSWER = 9
    WANTED = 10
    STATE = 11
    ERROR = 12
    MIX = 13
    MIXED = 14
    WEIGH = 15
    WEIGHTS = 16


STEP = struct.Struct("<d5I")
"""Factor of the rates, then B, C, h, w and D; logits, features, masks, groups and samples follow, then what
the flags say: the teacher's logits; the partners' masks and the shares."""

TEACHER, MIXED, PROBE = 1, 2, 4
"""Flags of a step: what it has beside, and whether the same step is asked for again."""

FLOATS = 1
"""Flag of images: they are float32, because mixed ones are no bytes over 255."""

NOTHING = 1
"""Flag of a MIXED or WEIGHTS without a body: the method leaves it as it is."""

EPOCH = struct.Struct("<I")
"""An epoch's number; in a WEIGH the samples' losses follow."""

SCALAR = struct.Struct("<d")

LOGITS, FEATURES = 1, 2
"""Flags of an answer: which gradients follow the loss."""

UNFIT = 1
"""Flag of an error: a state that could not be taken up, which is not the method's failure."""


class Broken(Exception):
    """What came over the line, or did not, in words that follow "it"."""


@dataclass(frozen=True)
class Message:
    """One message, its body in memory that belongs to nobody else."""

    kind: Kind
    flags: int
    body: bytearray


class Line:
    """One end of a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(
        self, kind: Kind, *parts: bytes | memoryview, flags: int = 0, seconds: float | None = None
    ) -> None:
        """Send a message of some parts. Raises Broken where it is not taken within so many seconds."""
        views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
        header = _HEADER.pack(MAGIC, kind, flags, sum(view.nbytes for view in views))
        until = None if seconds is None else time.monotonic() + seconds
        try:
            for view in (memoryview(header), *views):
                while view.nbytes:
                    self._socket.settimeout(_left(until))
                    view = view[self._socket.send(view) :]
        except TimeoutError:
            raise Broken(f"did not take a message within {seconds:g} s") from None
        except OSError:
            raise Broken("ended in the middle of the training") from None

    def receive(self, most: int, seconds: float | None = None) -> Message:
        """Return the next message, of at most so many bytes, whole within so many seconds. Raises Broken."""
        until = None if seconds is None else time.monotonic() + seconds
        try:
            magic, kind, flags, length = _HEADER.unpack(self._take(_HEADER.size, until))
            if magic != MAGIC or kind not in Kind.__members__.values():
                raise Broken("sent what is no message")
            if length > most:
                raise Broken(f"sent a message of {length:,} bytes, where at most {most:,} are due")
            return Message(Kind(kind), flags, self._take(length, until))
        except TimeoutError:
            raise Broken(f"did not answer within {seconds:g} s") from None
        except OSError:
            raise Broken("ended in the middle of the training") from None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _take(self, length: int, until: float | None) -> bytearray:
        # One clock for the whole message: a byte a minute is no answer.
        body = bytearray(length)
        view = memoryview(body)
        while view.nbytes:
            self._socket.settimeout(_left(until))
            taken = self._socket.recv_into(view)
            if not taken:
                raise Broken("ended in the middle of the training")
            view = view[taken:]
        return body


def _left(until: float | None) -> float | None:
    if until is None:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
