"""The device that trains: which one, how it is made deterministic, what it is called and what it took."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

# Read by cuBLAS when CUDA starts, so it must be there before torch touches a GPU.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch

from harness.errors import HarnessError


def resolve_device(name: str) -> torch.device:
    """Return the device of `--device`: "auto" is a GPU where there is one.

    Of several GPUs, "cuda:0,2", it is the kind: each trial is shown the one that it has. Raises
    HarnessError for a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    several = cards(name)
    try:
        for one in [f"cuda:{number}" for number in several] or [name]:
            torch.zeros(1, device=one)
    except (RuntimeError, AssertionError) as error:
        raise HarnessError(
            f"--device {name}: {str(error).splitlines()[0]} Use --device auto or cpu."
        ) from None
    return torch.device("cuda" if several else name)


def cards(name: str) -> tuple[int, ...]:
    """Return the numbers of the GPUs of "cuda:0,2", none where not several are named."""
    return tuple(map(int, name.removeprefix("cuda:").split(","))) if "," in name else ()


def prepare_torch(threads: int) -> None:
    """Make torch deterministic, on as many CPU threads as the recipe says, with memory that it keeps."""
    _keep_memory()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling what is about to be overwritten finds bugs in kernels, not in methods.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _keep_memory() -> None:
    """Have glibc keep what is freed: each step asks for it again, and pages that come anew are filled first.

    A step of a small decoder asks for some 8,000 of them, a tenth of its time. What is larger than 32 MiB,
    the most that glibc allows here, still comes and goes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h.
    for parameter, size in ((-1, 2**30), (-3, 2**25)):
        mallopt(parameter, size)


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the kind of CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"


def peak_memory(device: torch.device) -> int:
    """Return the bytes that this process held at most: of the GPU where it trains on one, else of all."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows has none, and does not tell
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
