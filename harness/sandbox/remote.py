"""A method in another process, as the training sees it: the other side of `harness.sandbox.serve`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from harness.backbones.backbone import Backbone
from harness.errors import TrialError, plain
from harness.plugin.method import Batch, Output
from harness.sandbox.limits import Limits
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
from harness.training import mixing, sampling
from harness.training.mixing import Mix
from harness.training.side import Answer, Assignment

START_SECONDS = 300.0
"""For Python, torch and the method's file to be imported, and the method to be built."""


class Remote:
    """A method that is spoken to over a line; all that it says is data of known form, or its failure.

    Raises TrialError, one sentence that begins with `where`, for an error there, silence and nonsense; `why`
    says why the process ended, where somebody knows better than the line.
    """

    what = "its loss"
    own_layers = False

    def __init__(
        self,
        line: Line,
        told: Assignment,
        file: str,
        where: str,
        limits: Limits,
        why: Callable[[], str] = lambda: "",
    ) -> None:
        self._line, self._where, self._limits, self._why = line, where, limits, why
        start = {
            "file": file,
            "name": told.name,
            "hyper_parameters": dict(told.hyper_parameters),
            "task": asdict(told.task),
            "recipe": told.recipe.model_dump(mode="json"),
            "learning_rate": told.learning_rate,
            "seed": told.seed,
            # The one GPU that another process may see is its first.
            "device": told.device.type,
        }
        self._device = told.device
        self._ask(Kind.START, json.dumps(start).encode(), seconds=max(START_SECONDS, limits.step))

    def adapt(self, backbone: Backbone) -> Backbone:
        """Return the backbone as it is: who has layers of its own is not asked over a line."""
        return backbone

    def calibrate(self, seen: Iterator[tuple[Batch, Output]]) -> None:
        """Nothing: who sets something after training is not asked over a line."""

    def begin(self, epoch: int) -> None:
        """Tell the method that an epoch begins."""
        self._ask(Kind.BEGIN, EPOCH.pack(epoch))

    def mix(self, groups: Tensor, samples: Tensor) -> Mix | None:
        """Return what the method mixes in a batch; see `LossSide`."""
        self._send(Kind.MIX, _array(groups), _array(samples))
        body = self._given(Kind.MIXED, len(samples) * (8 + 4))
        if body is None:
            return None
        partners = np.frombuffer(body, np.int64, len(samples))
        shares = np.frombuffer(body, np.float32, len(samples), partners.nbytes)
        return mixing.checked((partners, shares), len(samples), self._where)

    def answer(
        self,
        batch: Batch,
        logits: Tensor,
        features: Tensor,
        factor: float,
        teacher: Tensor | None = None,
        probe: bool = False,
    ) -> Answer:
        """Return the method's loss and its gradients; see `LossSide`."""
        head = STEP.pack(factor, *logits.shape, features.shape[1])
        masks = _array(batch.masks.to(torch.uint8))
        given = [_array(logits), _array(features), masks, _array(batch.groups), _array(batch.samples)]
        flags = PROBE if probe else 0
        if teacher is not None:
            flags |= TEACHER
            given.append(_array(teacher))
        if batch.other_masks is not None and batch.shares is not None:
            flags |= MIXED
            given += [_array(batch.other_masks.to(torch.uint8)), _array(batch.shares)]
        self._send(Kind.STEP, head, *given, flags=flags)
        most = SCALAR.size + 4 * (logits.numel() + features.numel())
        reply = self._receive({Kind.ANSWER, Kind.WANTED}, most)
        if reply.kind is Kind.WANTED:
            if flags & MIXED:
                self._send(Kind.IMAGES, _array(batch.images), flags=FLOATS)
            else:
                self._send(Kind.IMAGES, _pixels(batch.images))
            reply = self._receive({Kind.ANSWER}, most)
        return self._answer(reply, logits, features)

    def end(self, epoch: int) -> None:
        """Tell the method that an epoch is over."""
        self._ask(Kind.END, EPOCH.pack(epoch))

    def weights(self, epoch: int, losses: Tensor) -> np.ndarray | None:
        """Return how the method wants the samples drawn; see `LossSide`."""
        self._send(Kind.WEIGH, EPOCH.pack(epoch), _array(losses))
        body = self._given(Kind.WEIGHTS, 8 * len(losses))
        found = None if body is None else np.frombuffer(body, np.float64)
        return sampling.checked(found, len(losses), self._where)

    def state(self) -> Tensor:
        """Return what the method wants to go on from, as bytes that nothing here reads."""
        self._send(Kind.SAVE)
        body = self._receive({Kind.STATE}, self._limits.state).body
        return torch.from_numpy(np.frombuffer(body, np.uint8))

    def resume(self, state: Tensor) -> None:
        """Let the method go on from a state. Raises ValueError where it cannot."""
        self._send(Kind.RESUME, _array(state))
        reply = self._receive({Kind.READY, Kind.ERROR}, TEXT)
        if reply.kind is Kind.ERROR:
            if not reply.flags & UNFIT:
                self._fail(_text(reply))
            raise ValueError(_text(reply))

    def _given(self, kind: Kind, length: int) -> bytearray | None:
        """Return the body of a reply that has one length, None where it says that there is nothing."""
        reply = self._receive({kind}, length)
        nothing = bool(reply.flags & NOTHING)
        if reply.flags & ~NOTHING or len(reply.body) != (0 if nothing else length):
            self._fail(f"sent a message of {len(reply.body):,} bytes, where {length:,} are due")
        return None if nothing else reply.body

    def _answer(self, reply: Message, logits: Tensor, features: Tensor) -> Answer:
        wanted = {LOGITS: logits, FEATURES: features}
        due = [(flag, like) for flag, like in wanted.items() if reply.flags & flag]
        if reply.flags & ~(LOGITS | FEATURES) or len(reply.body) != SCALAR.size + sum(
            4 * like.numel() for _, like in due
        ):
            self._fail("sent an answer that is not a loss and the gradients of this batch")
        (loss,) = SCALAR.unpack_from(reply.body)
        at, gradients = SCALAR.size, {}
        for flag, like in due:
            numbers = np.frombuffer(reply.body, np.float32, like.numel(), at)
            gradients[flag] = torch.from_numpy(numbers).view(like.shape).to(like.device)
            at += 4 * like.numel()
        scalar = torch.tensor(loss, device=logits.device)
        return Answer(scalar, gradients.get(LOGITS), gradients.get(FEATURES))

    def _ask(self, kind: Kind, body: bytes, seconds: float | None = None) -> None:
        self._send(kind, body)
        self._receive({Kind.READY}, 0, seconds)

    def _send(self, kind: Kind, *parts: bytes | memoryview, flags: int = 0) -> None:
        try:
            self._line.send(kind, *parts, flags=flags, seconds=self._limits.step)
        except Broken as error:
            self._fail(str(error))

    def _receive(self, due: set[Kind], most: int, seconds: float | None = None) -> Message:
        try:
            reply = self._line.receive(max(most, TEXT), seconds or self._limits.step)
        except Broken as error:
            self._fail(str(error))
        if reply.kind is Kind.ERROR and Kind.ERROR not in due:
            raise TrialError(f"{self._where}: {_text(reply)}")
        if reply.kind not in due or (len(reply.body) > most and reply.kind is not Kind.ERROR):
            self._fail("sent a message that is not due")
        return reply

    def _fail(self, how: str) -> NoReturn:
        raise TrialError(f"{self._where}: {self._why() or f'it {how}'}.")


def _array(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().cpu().numpy().data


def _pixels(images: Tensor) -> memoryview:
    """Return images in [0, 1] as the bytes that they were: augmentation moves pixels and mixes none."""
    return _array((images * 255).round().to(torch.uint8))


def _text(reply: Message) -> str:
    return plain(" ".join(bytes(reply.body).decode("utf-8", errors="replace").split())[:1_000])
