"""Folders of processes: held while these live, and found by the next when they are dead."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import needs
import pytest

from harness.store import leases

HOLD = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from harness.store import leases
with leases.leased("job") as folder:
    (folder / "inputs").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(place):
    """Another process that holds a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip()
    yield process
    process.kill()
    process.wait()


def test_a_folder_is_there_while_the_block_lasts(place):
    with leases.leased("job") as folder:
        assert folder.parent == place
        assert not leases.is_dead(folder)
        assert leases.reap() == []
    assert list(place.iterdir()) == []


def test_a_folder_of_a_process_that_lives_stays(place, holder):
    assert leases.reap() == []
    assert len(list(place.iterdir())) == 1


@needs.unless(
    hasattr(os, "waitid"), "no process here is dead and still there", "a system that has `waitid`, as Linux"
)
def test_a_process_that_died_and_is_not_yet_gone_holds_nothing(place, holder):
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    (folder,) = place.iterdir()
    assert leases.reap() == [folder]
    assert list(place.iterdir()) == []


def test_a_folder_of_a_killed_process_is_removed_after_what_it_started_was_ended(place, holder):
    holder.kill()
    holder.wait()
    (folder,) = place.iterdir()
    told = []
    assert leases.reap(lambda dead: told.extend(path for path in dead if path.is_dir())) == [folder]
    assert told == [folder]
    assert list(place.iterdir()) == []


def test_a_process_that_died_before_it_locked_its_folder_left_it_too(place, holder):
    holder.kill()
    holder.wait()
    (place / f"harness-job-{holder.pid}-early").mkdir()
    assert len(leases.reap()) == 2


def test_what_is_called_otherwise_or_is_a_link_is_nobodys_to_remove(place):
    (place / "harness-report").mkdir()
    (place / "harness-job-x-y").mkdir()
    (place / "elsewhere").mkdir()
    (place / "harness-job-999999999-link").symlink_to(place / "elsewhere")
    assert leases.reap() == []
    assert len(list(place.iterdir())) == 4
