"""The samples of a cohort as tensors on a device: images, masks, and embeddings where cached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.training.upload import upload

# A split that takes more of the free GPU memory than this stays in the host's memory.
_RESIDENT_SHARE = 0.4


class Feed:
    """Some rows of a cohort.

    images: uint8 [N, S, S, 3]; masks: uint8 [N, S, S] or None where they must not be seen;
    embeddings: one array [V, N, d, s, s] per map of a frozen encoder, or empty; rows: int64 [n]; codes: int64
    [n], the groups that the network may read, all unknown where None.
    """

    def __init__(
        self,
        images: np.ndarray,
        masks: np.ndarray | None,
        embeddings: Sequence[np.ndarray],
        rows: np.ndarray,
        device: torch.device,
        codes: np.ndarray | None = None,
    ) -> None:
        self.rows = rows
        self._codes = np.full(len(rows), -1) if codes is None else codes
        self.device = device
        self._images = _Rows(images, rows, 0, device)
        self._masks = None if masks is None else _Rows(masks, rows, 0, device)
        self._maps = [_Rows(maps, rows, 1, device) for maps in embeddings]

    def __len__(self) -> int:
        return len(self.rows)

    def release(self) -> bool:
        """Take what is on the GPU off it, to be fetched batch by batch; tell whether there was any."""
        tables = [one for one in (self._images, self._masks, *self._maps) if one is not None]
        held = [one for one in tables if one.resident is not None]
        for one in held:
            one.resident = None
        return bool(held)

    def images(self, picks: np.ndarray) -> Tensor:
        """Return float32 [B, 3, S, S] in [0, 1]; `picks` counts from 0 within the rows."""
        return self._images.take(picks).movedim(-1, 1).float().div_(255)

    def masks(self, picks: np.ndarray) -> Tensor:
        """Return uint8 [B, S, S], class indices."""
        if self._masks is None:
            raise RuntimeError("these rows came without masks")
        return self._masks.take(picks)

    def codes(self, picks: np.ndarray) -> Tensor:
        """Return int64 [B], the codes of groups, -1 unknown."""
        return upload(self._codes[picks].astype(np.int64), self.device)

    def maps(self, picks: np.ndarray, variants: np.ndarray) -> tuple[Tensor, ...]:
        """Return the cached encoder maps of each pick under its dihedral variant, float32."""
        return tuple(maps.take(picks, variants).float() for maps in self._maps)


class _Rows:
    """Rows of an array, resident on the GPU where they fit, else fetched from the (mapped) array."""

    def __init__(self, array: np.ndarray, rows: np.ndarray, axis: int, device: torch.device) -> None:
        self.device = device
        self.array = array
        self.rows = rows
        self.resident: Tensor | None = None
        size = array.nbytes // array.shape[axis] * len(rows)
        if device.type == "cuda" and size < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
            try:
                self.resident = torch.from_numpy(np.take(array, rows, axis)).to(device)
            except torch.cuda.OutOfMemoryError:  # a process may be allowed less than is free
                torch.cuda.empty_cache()

    def take(self, picks: np.ndarray, variants: np.ndarray | None = None) -> Tensor:
        if self.resident is not None:
            index = upload(picks, self.device)
            return self.resident[index if variants is None else (upload(variants, self.device), index)]
        rows = self.rows[picks]
        chosen = self.array[rows] if variants is None else self.array[variants, rows]
        return upload(chosen, self.device)
