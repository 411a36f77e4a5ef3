"""Joules that the devices of a machine have taken, where they tell: Intel's and AMD's counters, NVIDIA's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RAPL = Path("/sys/class/powercap")
"""Where Linux has the counters of processors ("running average power limit"), in microjoules."""


@dataclass(frozen=True)
class Counter:
    """One device's: name, `read` gives joules since some time, which begins anew at `wraps`, 0 for never."""

    name: str
    read: Callable[[], float]
    wraps: float = 0.0


def counters(folder: Path = RAPL) -> list[Counter]:
    """Return the counters of this machine that may be read: of its processors' packages and its GPUs."""
    return [*_processors(folder), *_cards()]


def spent(work: Callable[[], object], of: list[Counter]) -> tuple[float, dict[str, float]]:
    """Return the seconds that something took by the clock, and the joules of each device meanwhile.

    What else runs on a device is among them. A counter that began anew twice meanwhile is not noticed: that
    of a processor takes minutes at the least.
    """
    before, began = [one.read() for one in of], time.perf_counter()
    work()
    took = time.perf_counter() - began
    gone = {one.name: one.read() - then for one, then in zip(of, before, strict=True)}
    return took, {one.name: gone[one.name] + (one.wraps if gone[one.name] < 0 else 0) for one in of}


def _processors(folder: Path) -> list[Counter]:
    found = []
    # A package's counter has those of its parts, `intel-rapl:0:0`, in it.
    for zone in sorted(folder.glob("*-rapl:?*")):
        if zone.name.count(":") == 1:
            try:
                name, most = ((zone / file).read_text().strip() for file in ("name", "max_energy_range_uj"))
                (zone / "energy_uj").read_text()  # the administrator's alone on most machines
            except OSError:
                continue
            found.append(
                Counter(name, lambda at=zone / "energy_uj": int(at.read_text()) / 1e6, int(most) / 1e6)
            )
    return found


def _cards() -> list[Counter]:
    try:
        import pynvml

        pynvml.nvmlInit()
        held = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        for one in held:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(one)
    except Exception:  # noqa: BLE001 - no library, no driver, a card before Volta: an error of its own for each
        return []
    read = pynvml.nvmlDeviceGetTotalEnergyConsumption
    return [Counter(f"GPU {i}", lambda one=one: read(one) / 1e3) for i, one in enumerate(held)]
