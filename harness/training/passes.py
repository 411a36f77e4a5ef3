"""A batch's way through the backbone and back, whole or slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from harness.backbones.backbone import Backbone
from harness.errors import HarnessError
from harness.plugin.method import Batch
from harness.training import late, streams, underway
from harness.training.augment import Augmentation
from harness.training.feed import Feed
from harness.training.mixing import Mix
from harness.training.together import ALONE, Cards
from harness.training.upload import upload

Run = Callable[[np.ndarray], tuple[Tensor, Tensor]]
"""The logits and features, float32, of some rows of a batch: int64 [k], from 0."""

Decode = Callable[[tuple[Tensor, ...]], tuple[Tensor, Tensor]]
"""The logits and features of an encoder's maps, as `Backbone.decode` returns them."""


@dataclass(frozen=True)
class Pass:
    """What the backbone made of a batch, without its graph, and the way back through it.

    logits: float32 [B, C, h, w]; features: float32 [B, D]; both contiguous; back: takes their gradients,
    None for none, and adds to those of the backbone's weights.
    """

    batch: Batch
    logits: Tensor
    features: Tensor
    back: Callable[[Tensor | None, Tensor | None], None]


@dataclass(frozen=True)
class Through:
    """How a batch goes through a backbone.

    most: samples at a time whose graph is held, 0 for all; corners: how masks come to the logits' size, see
    `Augmentation.masks`; cards: those whose rows make up a batch; decode: the backbone's, of maps that the
    feed has, by other means.
    """

    backbone: Backbone
    feed: Feed
    bfloat16: bool
    most: int = 0
    corners: bool = False
    cards: Cards = ALONE
    decode: Decode | None = None

    def forward(
        self, picks: np.ndarray, drawn: Augmentation, groups: np.ndarray, mix: Mix | None = None
    ) -> Pass:
        """Take samples of the feed through the backbone under an augmentation, mixed where they are to be.

        picks: int64 [B]; groups: int64 [B], of the picks.
        """
        images = cache(lambda: self._images(picks, drawn, mix))
        codes = upload(groups, self.feed.device)
        run = self._run(images, picks, drawn, codes, mix)
        rows = self.cards.rows(len(picks))
        sliced = 0 < self.most < len(rows)
        own = _in_slices(run, rows, self.most, self.feed.device) if sliced else _whole(run, rows)
        logits, features = self.cards.gathered(len(picks), own[0].detach(), own[1].detach())

        def back(*gradients: Tensor | None) -> None:
            own[2](*(self.cards.part(one) for one in gradients))
            self.cards.add(self.backbone)

        masks = drawn.masks(self.feed.masks(picks), (logits.shape[-2], logits.shape[-1]), self.corners)
        # Of a frozen encoder whose maps are kept, few methods look at an image.
        batch = late.batch(
            {"images": images},
            groups,
            masks=masks,
            groups=codes,
            samples=upload(picks, self.feed.device),
            other_masks=None if mix is None else masks[upload(mix.partners, masks.device)],
            shares=None if mix is None else upload(mix.shares, masks.device),
        )
        return Pass(batch, logits.contiguous(), features.contiguous(), back)

    @torch.no_grad()
    def look(self, picks: np.ndarray, drawn: Augmentation, mix: Mix | None = None) -> Tensor:
        """Return the logits alone, without a graph: float32 [B, C, h, w], contiguous."""
        unknown = torch.full((len(picks),), -1, device=self.feed.device)
        images = cache(lambda: self._images(picks, drawn, mix))
        run = self._run(images, picks, drawn, unknown, mix)
        own = torch.cat([run(rows)[0] for rows in _slices(self.cards.rows(len(picks)), self.most)])
        return self.cards.gathered(len(picks), own)[0].contiguous()

    def _images(self, picks: np.ndarray, drawn: Augmentation, mix: Mix | None) -> Tensor:
        images = drawn.images(self.feed.images(picks))
        if mix is None:
            return images
        return mix.of(images, images[upload(mix.partners, images.device)])

    def _run(
        self,
        images: Callable[[], Tensor],
        picks: np.ndarray,
        drawn: Augmentation,
        codes: Tensor,
        mix: Mix | None,
    ) -> Run:
        def run(rows: np.ndarray) -> tuple[Tensor, Tensor]:
            index = slice(None) if len(rows) == len(picks) else upload(rows, self.feed.device)
            autocast = torch.autocast(self.feed.device.type, torch.bfloat16, enabled=self.bfloat16)
            with autocast, underway.samples_of(codes[index]):
                maps = self.feed.maps(picks[rows], drawn.variants[rows])
                if maps and mix is not None:
                    others = mix.partners[rows]
                    theirs = self.feed.maps(picks[others], drawn.variants[others])
                    maps = tuple(mix.of(own, other, rows) for own, other in zip(maps, theirs, strict=True))
                decode = (maps and self.decode) or self.backbone.decode
                logits, features = decode(maps or self.backbone.encode(images()[index]))
            return logits.float(), features.float()

        return run


def sliceable(backbone: Backbone) -> bool:
    """Tell whether slices of a batch give what the whole does: nothing takes statistics of a batch."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    return not any(isinstance(one, kind) and one.training for one in backbone.modules())


def check_slices(backbone: Backbone, most: int, own_layers: bool = False) -> None:
    """Raise HarnessError where slices of a batch would be normalised by their own statistics, or might be.

    own_layers: whether a method has put layers of its own into the backbone.
    """
    if most and own_layers:
        raise HarnessError(
            f"--slice {most}: this method has layers of its own, which may mix the samples of a batch; leave "
            "--slice out for it."
        )
    if most and not sliceable(backbone):
        raise HarnessError(
            f"--slice {most}: this backbone trains batch normalisation, whose statistics are those of the "
            "whole batch; leave --slice out, or use a backbone without (sam; mobile-sam but adapt = full)."
        )


def _whole(
    run: Run, rows: np.ndarray
) -> tuple[Tensor, Tensor, Callable[[Tensor | None, Tensor | None], None]]:
    logits, features = run(rows)
    return logits, features, lambda *gradients: _back((logits, features), gradients)


def _in_slices(
    run: Run, own: np.ndarray, most: int, device: torch.device
) -> tuple[Tensor, Tensor, Callable[[Tensor | None, Tensor | None], None]]:
    """Go forward without a graph; on the way back each slice goes forward once more, with one.

    The loss is over the whole batch, so the sum of the slices' gradients is the whole batch's: the gradient
    cache of Gao et al. (Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, 2021). The
    second time a slice draws what it drew the first time.
    """
    slices, drawn, parts = _slices(own, most), [], []
    for rows in slices:
        drawn.append(streams.current(device))
        with torch.no_grad():
            parts.append(run(rows))

    def back(*gradients: Tensor | None) -> None:
        after = streams.current(device)
        for rows, state in zip(slices, drawn, strict=True):
            streams.restore(state, device)
            part = slice(rows[0] - own[0], rows[-1] - own[0] + 1)
            _back(run(rows), tuple(None if one is None else one[part] for one in gradients))
        streams.restore(after, device)

    logits, features = (torch.cat(column) for column in zip(*parts, strict=True))
    return logits, features, back


def _slices(rows: np.ndarray, most: int) -> list[np.ndarray]:
    """Return rows of a batch in slices of at most so many, 0 for all."""
    return [rows[start : start + most] for start in range(0, len(rows), most)] if most else [rows]


def _back(made: tuple[Tensor, Tensor], gradients: tuple[Tensor | None, ...]) -> None:
    pairs = [
        (one, gradient)
        for one, gradient in zip(made, gradients, strict=True)
        if gradient is not None and one.requires_grad
    ]
    if pairs:
        torch.autograd.backward([one for one, _ in pairs], [gradient for _, gradient in pairs])
