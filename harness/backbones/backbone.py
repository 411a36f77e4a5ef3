"""What every segmentation network looks like to the harness."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """An encoder and a decoder; `adapt` decides which weights require a gradient.

    n_features : length of the pooled features.
    weights_digest : SHA-256 of the pretrained weights it started from, "" for none.
    deepest : place among the encoder's maps of the one that went through all of it; width : its channels.
    heads : names of the modules whose outputs the logits are made of, each called once by `decode` with a
        tensor whose first axis is samples.
    """

    n_features: int
    weights_digest: str = ""
    deepest: int = -1
    width: int = 0
    heads: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the encoder's feature maps.

        images: float32 [B, 3, S, S] in [0, 1]; any normalisation is done in here. Each map is
        [B, d, s, s].
        """

    @abstractmethod
    def decode(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return logits [B, C, h, w] and features [B, n_features].

        The features are pooled from the last maps that training changes, also where the encoder
        is frozen, so that an adversary's gradient has weights to reach.
        """

    def compilable(self) -> list[nn.Module]:
        """Return the parts whose many small kernels a GPU's compiler can make few, outermost first."""
        return []

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return `decode(encode(images))`."""
        return self.decode(self.encode(images))
