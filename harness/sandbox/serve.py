"""A method in a process of its own: what it is given comes over a line, and so does what it answers.

Whoever asks trusts nothing that is said here: the method may do with this process what it likes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.plugin import discovery
from harness.plugin.method import Batch, Task
from harness.protocol import Recipe
from harness.sandbox.line import (
    EPOCH,
    FEATURES,
    FLOATS,
    LOGITS,
    MIXED,
    NOTHING,
    PROBE,
    SCALAR,
    STEP,
    TEACHER,
    TEXT,
    UNFIT,
    Broken,
    Kind,
    Line,
    Message,
)
from harness.training import side
from harness.training.device import prepare_torch
from harness.training.side import Answer, Assignment

_ANY = 2**62


def serve(path: str) -> int:
    """Connect to a Unix socket and answer until the other end hangs up or the method fails."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    line, file = Line(connection), Path()
    try:
        start = line.receive(_ANY)
        told = json.loads(start.body)
        file = Path(told["file"])
        served = _Served(line, *_start(told))
        line.send(Kind.READY)
        while True:
            served.answer(line.receive(_ANY))
    except Broken:
        return 0
    except BaseException as error:  # noqa: BLE001 - whatever a method raises is its trial's result
        traceback.print_exc()
        text = discovery.describe_error(error, file).encode()[:TEXT]
        with contextlib.suppress(Broken):
            line.send(Kind.ERROR, text, seconds=10)
        return 1


def _start(told: dict[str, Any]) -> tuple[side.Here, Assignment]:
    recipe = Recipe.model_validate(told["recipe"])
    prepare_torch(recipe.threads)
    method = discovery.load(discovery.Plugin(told["name"], Path(told["file"])))
    task = told["task"]
    assignment = Assignment(
        name=told["name"],
        hyper_parameters=told["hyper_parameters"],
        task=Task(**task | {key: tuple(task[key]) for key in ("groups", "group_counts")}),
        recipe=recipe,
        learning_rate=told["learning_rate"],
        seed=told["seed"],
        device=torch.device(told["device"]),
    )
    return side.build(method, assignment), assignment


@dataclass(frozen=True)
class _Served:
    """A method and the line over which it is asked."""

    line: Line
    method: side.Here
    told: Assignment

    def answer(self, message: Message) -> None:
        """Do what a message asks, and reply."""
        if message.kind is Kind.STEP:
            self._step(message)
        elif message.kind is Kind.MIX:
            self._mix(message.body)
        elif message.kind is Kind.WEIGH:
            self._weigh(message.body)
        elif message.kind is Kind.SAVE:
            self.line.send(Kind.STATE, self.method.state().numpy().data)
        elif message.kind is Kind.RESUME:
            self._resume(message.body)
        else:
            (epoch,) = EPOCH.unpack(message.body)
            (self.method.begin if message.kind is Kind.BEGIN else self.method.end)(epoch)
            self.line.send(Kind.READY)

    def _resume(self, body: bytearray) -> None:
        try:
            self.method.resume(torch.frombuffer(body, dtype=torch.uint8))
        except Exception as error:  # noqa: BLE001 - torch raises a dozen types over what does not fit
            said = next(iter(str(error).splitlines()), type(error).__name__)
            self.line.send(Kind.ERROR, said.encode()[:TEXT], flags=UNFIT)
        else:
            self.line.send(Kind.READY)

    def _mix(self, body: bytearray) -> None:
        count = len(body) // 16
        take = _Reader(body, 0, self.told.device)
        found = self.method.mix(take(np.int64, count), take(np.int64, count))
        self._give(Kind.MIXED, None if found is None else (found.partners.data, found.shares.data))

    def _weigh(self, body: bytearray) -> None:
        (epoch,) = EPOCH.unpack_from(body)
        losses = _Reader(body, EPOCH.size, self.told.device)(np.float32, (len(body) - EPOCH.size) // 4)
        found = self.method.weights(epoch, losses)
        self._give(Kind.WEIGHTS, None if found is None else (np.ascontiguousarray(found).data,))

    def _give(self, kind: Kind, parts: tuple[memoryview, ...] | None) -> None:
        self.line.send(kind, *(parts or ()), flags=NOTHING if parts is None else 0)

    def _step(self, message: Message) -> None:
        factor, b, c, h, w, d = STEP.unpack_from(message.body)
        take = _Reader(message.body, STEP.size, self.told.device)
        logits, features = take(np.float32, b, c, h, w), take(np.float32, b, d)
        masks = take(np.uint8, b, h, w).long()
        groups, samples = take(np.int64, b), take(np.int64, b)
        teacher = take(np.float32, b, c, h, w) if message.flags & TEACHER else None
        mixed = bool(message.flags & MIXED)
        others, shares = (take(np.uint8, b, h, w).long(), take(np.float32, b)) if mixed else (None, None)
        given = Asked(lambda: self._images(b), masks, groups, samples, others, shares)
        probe = bool(message.flags & PROBE)
        found = self.method.answer(given, logits, features, factor, teacher, probe)
        self.line.send(Kind.ANSWER, *_parts(found), flags=_flags(found))

    def _images(self, count: int) -> Tensor:
        self.line.send(Kind.WANTED)
        message = self.line.receive(_ANY)
        kind: Any = np.float32 if message.flags & FLOATS else np.uint8
        side_length = round((len(message.body) / np.dtype(kind).itemsize / 3 / count) ** 0.5)
        pixels = _Reader(message.body, 0, self.told.device)(kind, count, 3, side_length, side_length)
        return pixels if message.flags & FLOATS else pixels.float() / 255


class Asked(Batch):
    """A training batch whose images are fetched when they are first looked at: most losses never do."""

    def __init__(
        self,
        fetch: Callable[[], Tensor],
        masks: Tensor,
        groups: Tensor,
        samples: Tensor,
        other_masks: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> None:
        values = {"_fetch": fetch, "masks": masks, "groups": groups, "samples": samples}
        values |= {"other_masks": other_masks, "shares": shares}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @functools.cached_property
    def images(self) -> Tensor:
        """The images of `Batch`."""
        fetched: Tensor = vars(self)["_fetch"]()
        return fetched

    def select(self, rows: Tensor) -> Asked:
        """Return the batch of some samples, its images as far away."""
        mixed = [None if one is None else one[rows] for one in (self.other_masks, self.shares)]
        own = (self.masks[rows], self.groups[rows], self.samples[rows])
        return Asked(lambda: self.images[rows], *own, *mixed)


class _Reader:
    """Takes arrays off a message, one after another."""

    def __init__(self, body: bytearray, at: int, device: torch.device) -> None:
        self.body, self.at, self.device = body, at, device

    def __call__(self, kind: Any, *shape: int) -> Tensor:
        count = int(np.prod(shape))
        array = np.frombuffer(self.body, kind, count, self.at).reshape(shape)
        self.at += array.nbytes
        # A copy: in one message the arrays lie at any address, and kernels take another path there.
        return torch.from_numpy(array.copy()).to(self.device)


def _parts(found: Answer) -> list[bytes | memoryview]:
    gradients = [
        one.contiguous().cpu().numpy().data for one in (found.logits, found.features) if one is not None
    ]
    return [SCALAR.pack(float(found.loss)), *gradients]


def _flags(found: Answer) -> int:
    return (LOGITS if found.logits is not None else 0) | (FEATURES if found.features is not None else 0)
