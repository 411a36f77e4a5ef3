"""Parts of a batch, and of what is made of it, that are computed when a method reads them, and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from harness.plugin.method import Batch, Output
from harness.training.upload import upload

Parts = Mapping[str, Callable[[], Tensor]]

Made = TypeVar("Made", bound=Batch | Output)


class _Late:
    """Python asks `__getattr__` for what an object does not have yet."""

    def __getattr__(self, name: str) -> Any:
        parts = vars(self).get("_parts", {})
        if name not in parts:
            kind = type(self).__mro__[2].__name__
            raise AttributeError(f"'{kind}' object has no attribute '{name}'", name=name, obj=self)
        # As if it had been there from the start, whatever of torch's modes the method reads it in.
        device = next(one.device.type for one in vars(self).values() if isinstance(one, Tensor))
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
            found = vars(self)[name] = parts[name]()
        return found


class _LateBatch(_Late, Batch):
    def by_group(self, unknown: bool = False) -> dict[int, Tensor]:
        """Return the rows of each group, of the codes that the host has."""
        codes = vars(self).get("_codes")
        if codes is None:  # of some samples, which the method has chosen
            return super().by_group(unknown)
        found = [int(code) for code in np.unique(codes) if unknown or code >= 0]
        return {code: upload(np.flatnonzero(codes == code), self.groups.device) for code in found}


class _LateOutput(_Late, Output):
    pass


def batch(parts: Parts, codes: np.ndarray, **known: Any) -> Batch:
    """Return a batch of known parts and of others, each computed when it is first read, and once.

    codes: int64 [B], its groups once more, on the host.
    """
    made = _with(_LateBatch(**known, **_none(parts)), parts)
    vars(made)["_codes"] = codes
    return made


def output(parts: Parts, **known: Any) -> Output:
    """Return an output of known parts and of others, each computed when it is first read, and once."""
    return _with(_LateOutput(**known, **_none(parts)), parts)


def _none(parts: Parts) -> dict[str, Any]:
    return dict.fromkeys(parts)


def _with(one: Made, parts: Parts) -> Made:
    """Let parts that were given as None be looked for in `parts` instead."""
    for name in parts:
        del vars(one)[name]
    vars(one)["_parts"] = parts
    return one
