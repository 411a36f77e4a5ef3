"""The last finished epoch is kept until it is due, or written on the way out: whole, never half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from harness.training import checkpoint
from harness.training.checkpoint import Checkpoint, epochs_in


def content(epoch: int) -> dict:
    return {"state": {"epoch": epoch}, "backbone": {"w": torch.full((3,), float(epoch))}}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told to go on."""
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    return now


def test_an_epoch_is_written_once_enough_would_be_lost(tmp_path, clock):
    kept = Checkpoint(tmp_path / "c.pt")
    clock[0] += 5
    kept.keep(lambda: content(1), seconds=10)
    assert epochs_in(tmp_path / "c.pt") == 0
    clock[0] += 6
    kept.keep(lambda: content(2), seconds=10)
    assert epochs_in(tmp_path / "c.pt") == 2
    assert torch.equal(kept.load(torch.device("cpu"))["backbone"]["w"], torch.full((3,), 2.0))


def test_what_was_kept_last_is_written_when_asked_and_only_once(tmp_path, clock):
    kept = Checkpoint(tmp_path / "c.pt")
    clock[0] += 5
    kept.keep(lambda: content(1), seconds=10)
    kept.write()
    assert epochs_in(tmp_path / "c.pt") == 1
    before = (tmp_path / "c.pt").stat().st_mtime_ns
    kept.write()
    assert (tmp_path / "c.pt").stat().st_mtime_ns == before


def test_epochs_that_end_quickly_are_not_packed_one_by_one(tmp_path, clock):
    packed = []
    kept = Checkpoint(tmp_path / "c.pt")
    for epoch in range(50):
        clock[0] += 0.1
        kept.keep(lambda epoch=epoch: packed.append(epoch) or content(epoch), seconds=10)
    assert 3 <= len(packed) <= 5  # five seconds, one a second


def test_what_is_written_is_the_epoch_that_was_kept_whatever_training_did_since(tmp_path, clock):
    kept = Checkpoint(tmp_path / "c.pt")
    live = content(1) | {"moments": [{"w": torch.ones(2)}, torch.ones(2)]}
    clock[0] += 5
    kept.keep(lambda: live, seconds=10)
    live["backbone"]["w"] += 1
    live["state"]["epoch"] = 2
    live["moments"][0]["w"].zero_()
    live["moments"].pop().zero_()
    kept.write()
    found = kept.load(torch.device("cpu"))
    assert found["state"] == {"epoch": 1}
    assert torch.equal(found["backbone"]["w"], torch.ones(3))
    assert torch.equal(torch.stack([found["moments"][0]["w"], found["moments"][1]]), torch.ones(2, 2))


def test_a_damaged_file_holds_nothing(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"PK\x03\x04 cut off")
    assert epochs_in(tmp_path / "c.pt") == 0
    assert epochs_in(tmp_path / "gone.pt") == 0


CHILD = """
import sys, time, torch
from harness.training import checkpoint
checkpoint.KEEP_SECONDS, checkpoint.KEEP_SHARE = 0.0, 1e9
with checkpoint.Checkpoint(__import__('pathlib').Path(sys.argv[1])) as kept:
    for epoch in (1, 2):
        kept.keep(lambda: {"state": {"epoch": epoch}}, seconds=3600)
    print("kept", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass  # as a method might
"""


def test_a_process_that_is_told_to_end_writes_it_whatever_a_method_catches(tmp_path):
    file = tmp_path / "c.pt"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "kept\n"
    assert not file.exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    assert epochs_in(file) == 2
    assert os.listdir(tmp_path) == ["c.pt"]
