"""How what the host has decided comes to the device that trains, without the host waiting for it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Apple's GPU works in the host's own memory.
_WITHOUT_A_COPY = ("cpu", "mps")


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """Return an array on a device, in its own type and shape.

    A plain copy to a GPU ends with the host waiting for all that was asked of the GPU before it; one out of
    pinned memory stands in line like a kernel, and the host goes on to the next batch meanwhile.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type in _WITHOUT_A_COPY:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
