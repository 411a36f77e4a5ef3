"""Counters of energy, over a folder as Linux lays it out and a driver's answers."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import energy
import pytest


@pytest.fixture
def rapl(tmp_path):
    for zone, name in (
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:1", "package-1"),
    ):
        (tmp_path / zone).mkdir()
        for file, text in (("name", name), ("max_energy_range_uj", "262143328850"), ("energy_uj", "5000000")):
            (tmp_path / zone / file).write_text(f"{text}\n")
    return tmp_path


def test_packages_are_counted_once_and_may_begin_anew(rapl, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    def work():
        (rapl / "intel-rapl:0/energy_uj").write_text("7500000\n")
        (rapl / "intel-rapl:1/energy_uj").write_text("1000000\n")  # over its end: 262,143.3 J

    _, joules = energy.spent(work, energy.counters(rapl))
    assert joules == pytest.approx({"package-0": 2.5, "package-1": 262_143.32885 - 4})


def test_what_may_not_be_read_is_left_out(rapl, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (rapl / "intel-rapl:1/energy_uj").unlink()
    assert [one.name for one in energy.counters(rapl)] == ["package-0"]
    assert energy.counters(rapl / "none") == []


def test_cards_are_counted_in_millijoules(tmp_path, monkeypatch):
    told = iter([0, 0, 10_000, 20_000, 10_500, 22_000])
    driver = SimpleNamespace(
        nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: next(told),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    _, joules = energy.spent(lambda: None, energy.counters(tmp_path))
    assert joules == {"GPU 0": 0.5, "GPU 1": 2.0}


def test_a_card_that_does_not_tell_is_no_error(tmp_path, monkeypatch):
    def lost():
        raise RuntimeError("driver not loaded")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=lost))
    assert energy.counters(tmp_path) == []
