"""Claims that machines honour on one file system: one holder, kept alive, taken over when he is dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from harness.store import claims, files

HOLD = """
import sys, time
from pathlib import Path
from harness.store import claims
with claims.claimed(Path(sys.argv[1]), {"label": "theirs"}) as own:
    print(own, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def claim(tmp_path):
    return tmp_path / "claim"


@pytest.fixture
def clock(monkeypatch):
    """The observer's steady clock, which goes on only when it is told to."""
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    return now


def of_another_machine(claim, number: int = 1, lease: float = 60.0) -> None:
    holder = claims.Holder("far", "another kernel", os.getpid(), "", f"token {number}", lease, "", {})
    claim.with_name(f"{claim.name}.{number}").write_text(json.dumps(vars(holder)))


def is_own(claim) -> bool:
    with claims.claimed(claim) as own:
        return own


def test_one_has_it_until_the_block_ends(claim):
    with claims.claimed(claim, {"label": "mine"}) as own, claims.claimed(claim) as other:
        assert (own, other) == (True, False)
        assert claims.holder(claim).about == {"label": "mine"}
    assert claims.holder(claim) is None
    assert list(claim.parent.iterdir()) == []


def test_of_many_who_ask_at_once_one_gets_it(claim):
    gate, release, got = threading.Barrier(8), threading.Event(), []

    def ask():
        gate.wait()
        with claims.claimed(claim) as own:
            got.append(own)
            release.wait(10)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(got) < 8:
        time.sleep(0.01)
    release.set()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_that_of_a_killed_process_of_this_machine_is_free_at_once(claim):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(claim)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    assert not is_own(claim)
    process.kill()
    # Not yet waited for, it is still in the table of processes.
    until = time.monotonic() + 10
    while not is_own(claim) and time.monotonic() < until:
        time.sleep(0.02)
    assert is_own(claim)
    process.wait()


def test_a_process_that_got_the_number_of_a_dead_one_is_another(claim):
    me = claims._me("token", {})
    other = vars(me) | {"began": "1", "process": os.getppid()}
    claim.with_name("claim.1").write_text(json.dumps(other))
    assert is_own(claim)


def test_that_of_another_machine_is_taken_over_once_it_was_silent_for_its_lease(claim, clock):
    of_another_machine(claim, lease=30)
    assert not is_own(claim)
    clock[0] += 29
    assert not is_own(claim)
    clock[0] += 2
    assert is_own(claim)
    assert list(claim.parent.iterdir()) == []


def test_a_sign_of_life_renews_it(claim, clock):
    of_another_machine(claim, lease=30)
    assert not is_own(claim)
    for _ in range(5):
        clock[0] += 20
        os.utime(claim.with_name("claim.1"))
        assert not is_own(claim)


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_jumps_by_a_day_frees_nothing_and_keeps_nothing(claim, clock, monkeypatch, jump):
    of_another_machine(claim, lease=30)
    assert not is_own(claim)
    real = time.time
    monkeypatch.setattr(claims.time, "time", lambda: real() + jump)
    # The server's clock jumped: what it stamps is of another day, and a sign of life all the same.
    clock[0] += 20
    os.utime(claim.with_name("claim.1"), (real() + jump, real() + jump))
    assert not is_own(claim)
    clock[0] += 20
    assert not is_own(claim)
    clock[0] += 11
    assert is_own(claim)


def test_of_two_who_find_it_dead_one_takes_over_and_the_other_sees_him(claim, clock):
    of_another_machine(claim)
    assert not is_own(claim)
    clock[0] += 61
    with claims.claimed(claim) as first:
        assert (first, is_own(claim)) == (True, False)
        assert sorted(path.name for path in claim.parent.iterdir()) == ["claim.1", "claim.2"]
    assert list(claim.parent.iterdir()) == []


def test_who_wakes_up_while_he_is_taken_over_keeps_it(claim, clock, monkeypatch):
    of_another_machine(claim)
    assert not is_own(claim)
    clock[0] += 61
    mark = files.mark

    def woken(target, data):
        mark(target, data)
        os.utime(claim.with_name("claim.1"))

    monkeypatch.setattr(files, "mark", woken)
    assert not is_own(claim)
    assert [path.name for path in claim.parent.iterdir()] == ["claim.1"]


def test_who_was_silent_for_too_long_is_told_that_he_lost_it(claim, monkeypatch):
    monkeypatch.setattr(claims, "LEASE", 0.06)
    told = threading.Event()
    with claims.claimed(claim, lost=told.set) as own:
        assert own
        of_another_machine(claim, 2)
        assert told.wait(10)
    # What the other holds is his.
    assert claim.with_name("claim.2").exists()


def test_its_folder_tidied_away_and_claimed_anew_it_is_not_taken_from_the_next(claim):
    with claims.claimed(claim):
        claim.with_name("claim.1").unlink()
        of_another_machine(claim)
    assert claim.with_name("claim.1").exists()


def test_one_that_the_power_cut_in_half_is_nobodys(claim):
    claim.with_name("claim.1").write_text('{"host": "vm", "mach')
    assert is_own(claim)


def test_who_waits_gets_it_after_the_other(claim):
    order = []

    def second():
        with claims.held(claim):
            order.append("second")

    with claims.held(claim):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_without_hard_links_one_alone_gets_it_too(claim, monkeypatch):
    def link(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with claims.claimed(claim) as own, claims.claimed(claim) as other:
        assert (own, other) == (True, False)
    assert list(claim.parent.iterdir()) == []


def test_an_answer_that_nfs_lost_is_not_taken_for_another_holder(claim, monkeypatch):
    real = os.link

    def twice(one, other):
        real(one, other)
        real(one, other)

    monkeypatch.setattr(os, "link", twice)
    assert is_own(claim)
