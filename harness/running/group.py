"""Cards that share a training, a process each: what they tell one another, by way of Accelerate."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.backbones.backbone import Backbone
from harness.errors import HarnessError
from harness.plugin.method import Batch, Output
from harness.training import room
from harness.training.mixing import Mix
from harness.training.passes import sliceable
from harness.training.side import Answer, Assignment, LossSide, MakeSide

SECONDS = 1800.0
"""How long a card waits for the others: one that died is noticed at once, this is for one that hangs."""

_CODES = (("", False), ("GPU", False), ("host", False), ("GPU", True))
"""Whose memory is full and whether a loss asked for it, as cards tell it: the largest number counts."""


class Parted(Exception):
    """A card could not reach the others."""


class _Agreed(room.Full):
    """Full on all cards, as all have heard."""


@contextmanager
def met(folder: Path, index: int, count: int, device: torch.device) -> Iterator[Group]:
    """Be one of so many cards on this machine that meet in a folder; device: a kind, cpu or cuda.

    Each process sees its own card as its first. What is small goes over gloo even between GPUs, so that no
    step waits for one.
    """
    from accelerate import PartialState

    # Accelerate reads these; the number of threads it would set where none is named.
    told: dict[str, object] = {"RANK": index, "WORLD_SIZE": count, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": count}
    told |= {"MASTER_ADDR": "localhost", "OMP_NUM_THREADS": torch.get_num_threads()}
    with _environment({name: str(value) for name, value in told.items()}), _one_another():
        state = PartialState(
            cpu=device.type == "cpu",
            backend="gloo" if device.type == "cpu" else "cuda:nccl,cpu:gloo",
            init_method=f"file://{folder / 'meeting'}",
            rank=index,
            world_size=count,
            timeout=datetime.timedelta(seconds=SECONDS),
        )
    try:
        yield Group(index, count)
    finally:
        state.destroy_process_group()
        PartialState._reset_state()


class Group:
    """One card's end of a training on several; see `harness.training.together.Cards`.

    Before cards exchange anything they agree that each holds what it needs for it: one whose memory is full
    would leave the others waiting.
    """

    def __init__(self, index: int, count: int) -> None:
        self.index, self.count = index, count

    def rows(self, size: int) -> np.ndarray:
        """Return this card's rows, shared out evenly; one that would have none takes the first along."""
        own = self._own(size)
        return np.arange(size)[own] if own.stop > own.start else np.zeros(1, np.int64)

    def gathered(self, size: int, *own: Tensor) -> tuple[Tensor, ...]:
        """Return a batch's rows of all cards; every card sends as many, filled up with zeros."""
        from accelerate.utils import gather

        share = -(-size // self.count)
        filled = [_filled(one.contiguous(), share) for one in own]
        for one in filled:
            one.new_empty(self.count * share, *one.shape[1:])  # is found again: torch keeps what it frees
        self._agree()
        with _one_another():
            whole = gather(filled)
        if size == self.count * share:
            return tuple(whole)
        lengths = [len(rows) for rows in np.array_split(np.arange(size), self.count)]
        kept = np.concatenate([card * share + np.arange(length) for card, length in enumerate(lengths)])
        return tuple(one[torch.from_numpy(kept).to(one.device)] for one in whole)

    def part(self, whole: Tensor | None) -> Tensor | None:
        """Return this card's rows of a gradient, None where it has none."""
        own = None if whole is None else whole[self._own(len(whole))]
        return own if own is not None and len(own) else None

    def add(self, network: nn.Module) -> None:
        """Add the cards' gradients up, all in one piece; one that no card has stays none."""
        from accelerate.utils import reduce

        weights = [one for one in network.parameters() if one.requires_grad]
        pieces = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
        flat = torch.cat([one.reshape(-1) for one in pieces])
        torch.empty_like(flat)
        has = torch.tensor([one.grad is not None for one in weights], dtype=torch.int64)
        self._agree()
        with _one_another():
            total, has = reduce(flat, "sum"), reduce(has, "max")
        sums = total.split([one.numel() for one in weights])
        for one, some, own in zip(weights, has.tolist(), sums, strict=True):
            one.grad = own.view_as(one) if some else None

    def sharing(self, make: MakeSide) -> MakeSide:
        """Return how to come by a method's side; `make` is called on the first card alone."""
        return lambda told: Shared(self, make(told) if self.index == 0 else None, told)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Let Full on one card be Full on all."""
        code = 0
        try:
            yield
        except _Agreed:
            raise
        except room.Full as error:
            code = _CODES.index((error.whose, error.in_loss))
        self._agree(code)

    def anywhere(self, flag: bool) -> bool:
        """Tell whether a flag is true of any card."""
        return self._most(int(flag)) > 0

    def leave(self) -> None:
        """Wait until all are done."""
        self._most(0)

    def told(self, value: Any = None) -> Any:
        """Return what the first card says, on all cards."""
        from accelerate.utils import broadcast_object_list

        with _one_another():
            return broadcast_object_list([value])[0]

    def given(self, *tensors: Tensor) -> None:
        """Fill tensors of the same shapes on all cards with what the first has in them."""
        from accelerate.utils import broadcast

        self._agree()
        with _one_another():
            broadcast(list(tensors))

    def _own(self, size: int) -> slice:
        share, more = divmod(size, self.count)
        start = self.index * share + min(self.index, more)
        return slice(start, start + share + (self.index < more))

    def _agree(self, code: int = 0) -> None:
        if worst := self._most(code):
            raise _Agreed(*_CODES[worst])

    def _most(self, number: int) -> int:
        from accelerate.utils import reduce

        with _one_another():
            return int(reduce(torch.tensor([number]), "max"))


class Shared:
    """A method's side on one of several cards: the first has the method, and tells the others what it says.

    See `harness.training.side.LossSide`. At an epoch's begin and end the cards see to it that they may go on.
    """

    def __init__(self, cards: Group, own: LossSide | None, told: Assignment) -> None:
        self._cards, self._own, self._who = cards, own, told.name
        self.what, self.own_layers = cards.told(None if own is None else (own.what, own.own_layers))
        self._network: Backbone | None = None

    def adapt(self, backbone: Backbone) -> Backbone:
        """Return the backbone; raises HarnessError for a method that puts layers of its own into it."""
        if self.own_layers:
            raise HarnessError(
                f"--cards {self._cards.count}: {self._who} has layers of its own, which may mix the samples "
                "of a batch; leave --cards out for it."
            )
        self._network = backbone if self._own is None else self._own.adapt(backbone)
        return self._network

    def calibrate(self, seen: Iterator[tuple[Batch, Output]]) -> None:
        """Let the method set what it sets after training; the other cards are done."""
        if self._own is not None:
            self._own.calibrate(seen)

    def begin(self, epoch: int) -> None:
        """Begin an epoch; raises HarnessError for a network whose rows depend on the others of a batch."""
        if self._network is not None and not sliceable(self._network):
            raise HarnessError(
                f"--cards {self._cards.count}: this backbone trains batch normalisation, whose statistics "
                "are those of the whole batch; leave --cards out, or use a backbone without (sam; mobile-sam "
                "but adapt = full)."
            )
        if self._own is not None:
            self._own.begin(epoch)

    def mix(self, groups: Tensor, samples: Tensor) -> Mix | None:
        """Return what the method mixes."""
        mix: Mix | None = self._said(lambda own: own.mix(groups, samples))
        return mix

    def answer(
        self,
        batch: Batch,
        logits: Tensor,
        features: Tensor,
        factor: float,
        teacher: Tensor | None = None,
        probe: bool = False,
    ) -> Answer:
        """Return the method's loss of the whole batch and its gradients, to the bit the same on all cards."""
        loss = torch.zeros(1, dtype=torch.float64, device=logits.device)
        gradients: list[Tensor | None] = [torch.zeros_like(logits), torch.zeros_like(features)]
        if self._own is not None:
            answer = self._own.answer(batch, logits, features, factor, teacher, probe)
            loss[0] = answer.loss
            found = (answer.logits, answer.features)
            gradients = [None if one is None else one.contiguous() for one in found]
        has = torch.tensor([one is not None for one in gradients], dtype=torch.int64)
        self._cards.given(has)
        gradients = [one if some else None for one, some in zip(gradients, has.tolist(), strict=True)]
        self._cards.given(loss, *(one for one in gradients if one is not None))
        return answer if self._own is not None else Answer(loss[0], *gradients)

    def end(self, epoch: int) -> None:
        """End an epoch; raises HarnessError where the cards' weights have come apart."""
        if self._own is not None:
            self._own.end(epoch)
        assert self._network is not None
        sums = torch.stack([one.detach().double().sum() for one in self._network.parameters()]).cpu()
        first = self._cards.told(sums)
        if self._cards.anywhere(not torch.equal(first, sums) and not sums.isnan().any()):
            raise HarnessError(
                f"{self._who}: after epoch {epoch + 1} the weights on its {self._cards.count} cards are no "
                "longer the same; use cards of one kind, or leave --cards out."
            )

    def weights(self, epoch: int, losses: Tensor) -> np.ndarray | None:
        """Return how the method wants the samples drawn."""
        weights: np.ndarray | None = self._said(lambda own: own.weights(epoch, losses))
        return weights

    def state(self) -> Tensor:
        """Return the method's state, nothing where it is not: the first card alone keeps it."""
        return torch.empty(0, dtype=torch.uint8) if self._own is None else self._own.state()

    def resume(self, state: Tensor) -> None:
        """Go on from a state; raises on all cards where the method does not."""
        failed: Exception | None = None
        if self._own is not None:
            try:
                self._own.resume(state)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are waiting to hear
                failed = error
        if self._cards.anywhere(failed is not None):
            raise failed or ValueError("the method's state is not one of it")

    def _said(self, ask: Callable[[LossSide], Any]) -> Any:
        return self._cards.told(None if self._own is None else ask(self._own))


@contextmanager
def _one_another() -> Iterator[None]:
    """Turn what torch says of a line that broke into Parted; memory that is full stays what it is."""
    try:
        yield
    except RuntimeError as error:
        if room.lacking(error):
            raise
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise Parted(re.sub(r"^\[[^]]*\] ", "", said)) from None  # of gloo's, where in its source


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Let environment variables have values inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not None:
                os.environ[name] = value
            else:
                with contextlib.suppress(KeyError):
                    del os.environ[name]


def _filled(own: Tensor, length: int) -> Tensor:
    """Return rows, and zeros after them up to a number."""
    if len(own) == length:
        return own
    return torch.cat([own, own.new_zeros(length - len(own), *own.shape[1:])])
