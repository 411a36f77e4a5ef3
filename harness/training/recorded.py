"""A small decoder on a GPU: its kernels are recorded once and started together, step after step.

Where a frozen encoder's maps are at hand, what is left of a step are some 1,000 short operations, and
starting them one by one takes the host longer than they run. A CUDA graph starts all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from harness.backbones.backbone import Backbone
from harness.training import streams
from harness.training.passes import Decode, sliceable


def decoder_of(backbone: Backbone, device: torch.device, own_layers: bool) -> Decode | None:
    """Return what decodes cached maps in place of `backbone.decode`, None where that is best as it is.

    own_layers: whether a method has put layers of its own into the network, which may do anything, ask the
    device or the host among it. Statistics of batches would be moved on by the recording itself.
    """
    if device.type != "cuda" or own_layers or not sliceable(backbone):
        return None
    return Recorded(backbone)


class Recorded:
    """Decodes as its backbone does; batches shaped like the first one that is trained on, by its recording.

    A recording is used where it gives the bits of the backbone itself, logits, features and gradients, on
    batches that it was not made of: whether there is one changes no result. Where it cannot be made, one line
    says so and each kernel is started by itself, as is one of another shape or without a graph of gradients.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._shapes: list[torch.Size] = []
        self._replay: Callable[..., Any] | None = None

    def __call__(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return logits and features, see `Backbone.decode`; nobody else writes into them."""
        if not torch.is_grad_enabled() or not self._backbone.training:
            return self._backbone.decode(maps)
        shapes = [one.shape for one in maps]
        if not self._shapes:
            self._shapes = shapes
            self._record(maps)
        if self._replay is None or shapes != self._shapes:
            return self._backbone.decode(maps)
        logits, features = self._replay(*maps)
        # The recording writes where it wrote the last time, and a method may keep what it was given.
        return logits.clone(), features.clone()

    def _record(self, maps: tuple[Tensor, ...]) -> None:
        device = maps[0].device
        state = streams.current(device)
        why = "a recording of them gives other numbers"
        try:
            replay = self._recording(maps)
            if self._agrees(replay, tuple(one.flip(0) for one in maps)):
                self._replay = replay
                return
        except Exception as error:  # noqa: BLE001 - of a driver, of memory, of an operation: a type for each
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        finally:
            streams.restore(state, device)
        said = f"The decoder's kernels are started one by one, and its steps may take longer: {why}"
        print(said, flush=True)  # noqa: T201 - this process's output is the trial's log

    def _recording(self, maps: tuple[Tensor, ...]) -> Callable[..., Any]:
        own = tuple(one.detach().clone() for one in maps)
        kind = own[0].device.type
        # Weights are cast inside: a cast that autocast had kept from before would not be made again.
        with torch.autocast(
            kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False
        ):
            return torch.cuda.make_graphed_callables(_Decoding(self._backbone), own, allow_unused_input=True)

    def _agrees(self, replay: Callable[..., Any], maps: tuple[Tensor, ...]) -> bool:
        """Tell whether a recording gives the backbone's bits, with gradients at both outputs and at one."""
        for outputs in (2, 1):
            plain = self._backbone.decode(maps)
            at = [i for i, one in enumerate(plain[:outputs]) if one.requires_grad]
            if not all(map(_same, self._results(plain, at), self._results(replay(*maps), at))):
                return False
        return True

    def _results(self, made: tuple[Tensor, Tensor], at: list[int]) -> list[Tensor | None]:
        """Return copies of what was made, and of the weights' gradients of the outputs at some places."""
        # Copies, as the next replay writes into the same memory.
        copies = [one.detach().clone() for one in made]
        weights = [one for one in self._backbone.parameters() if one.requires_grad]
        gradients = torch.autograd.grad(
            [made[i] for i in at], weights, [copies[i] for i in at], allow_unused=True
        )
        return [*copies, *(None if one is None else one.clone() for one in gradients)]


class _Decoding(nn.Module):
    """A backbone's decoder as what is recorded: a module of the weights that are trained, and of no other."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.trained = nn.ParameterList(one for one in backbone.parameters() if one.requires_grad)
        self._decode = backbone.decode

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and features."""
        return self._decode(maps)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and torch.equal(one, other)
