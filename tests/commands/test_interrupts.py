"""Ctrl-C in a terminal: what is true is said, what was finished is kept, a second one ends at once."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w
from tiny import PROTOCOL

from harness.store import Store
from harness.training.checkpoint import epochs_in

HARNESS = str(Path(sys.executable).with_name("harness"))

# ERM whose step takes as long as a file beside it says: epochs end when a test wants them to.
SLOW = """
import pathlib, time
from harness import Card, Method, segmentation_loss
from harness.training import checkpoint
checkpoint.KEEP_SECONDS, checkpoint.KEEP_SHARE = 0.0, 1e9  # every epoch, however short

class Slow(Method):
    card = Card(title="Slow")
    reads_attribute = False

    def loss(self, batch, output):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps > int(pathlib.Path({gate!r}).read_text()):
            time.sleep(1)
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


class Terminal:
    """A command in a terminal of 100 columns, and all that it has shown so far."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.master, slave = pty.openpty()
        env = {**os.environ, "OMP_NUM_THREADS": "1", "HARNESS_CACHE": str(cwd / "cache"), "COLUMNS": "100",
               "TERM": "xterm"}  # fmt: skip
        self.process = subprocess.Popen(
            arguments, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def read(self, seconds: float = 0.1) -> str:
        """Take in what comes within so many seconds."""
        while select.select([self.master], [], [], seconds)[0]:
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            self.shown += piece.decode(errors="replace")
        return self.shown

    def until(self, what: str, limit: float = 240.0) -> None:
        """Wait until a text was shown."""
        deadline = time.monotonic() + limit
        while what not in self.read():
            assert time.monotonic() < deadline, self.shown
            assert self.process.poll() is None or what in self.read(), self.shown

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, limit: float = 120.0) -> int:
        """Wait until the command ends; return its status."""
        deadline = time.monotonic() + limit
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
        self.read(0.5)
        os.close(self.master)
        return self.process.wait(1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "gate").write_text("0")
    (tmp_path / "slow.py").write_text(SLOW.format(gate=str(tmp_path / "gate")))
    table = PROTOCOL | {
        "seeds": [0],
        "attributes": {"race": {}},
        "recipe": PROTOCOL["recipe"] | {"epochs": 4},
    }
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(table))
    return tmp_path


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "\n")


def left_running(folder: Path) -> list[str]:
    """The processes in a folder that do not end by themselves: what forks the workers takes a while to."""
    until = time.monotonic() + 60
    while True:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if Path(os.readlink(process / "cwd")) == folder:
                    found.append((process / "cmdline").read_text().replace("\0", " "))
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.05)


RUN = ("run", "slow.py", "--protocol", "tiny.toml", "--jobs", "1")


def test_before_an_epoch_has_ended_it_is_said_that_nothing_was_saved(folder):
    terminal = Terminal(HARNESS, *RUN, cwd=folder)
    terminal.until("training")
    terminal.interrupt()
    assert terminal.end() == 130
    said = plain(terminal.shown)
    assert "Stopping; Ctrl-C again ends it at once." in said
    assert "Interrupted; 0 of 1 trials are done.\n" in said.replace("\n\n", "\n")
    assert "slow seed 0: nothing was saved yet: it starts at step 0 again" in said
    assert "goes on at" not in said
    assert "Traceback" not in said
    assert left_running(folder) == []


@pytest.mark.slow
def test_a_finished_epoch_is_kept_and_said_and_the_end_has_the_bits_of_an_unstopped_run(folder):
    steps = 48 // 8  # training samples of the tiny cohort, by its batch size
    (folder / "gate").write_text(str(2 * steps + 1))
    stopped = Terminal(HARNESS, *RUN, cwd=folder)
    stopped.until(f"{2 * steps + 2}/{4 * steps}")
    stopped.interrupt()
    assert stopped.end() == 130
    assert "slow seed 0: goes on at epoch 3 of 4" in plain(stopped.shown)
    (work,) = (folder / "runs" / "work").iterdir()
    assert epochs_in(work / "checkpoint.pt") == 2
    (folder / "gate").write_text("1000")
    again = Terminal(HARNESS, *RUN, cwd=folder)
    assert again.end() == 0
    # The line shows where this process is, and never where the one before had been.
    counts = [int(found) for found in re.findall(r"(\d+)/" + str(4 * steps), plain(again.shown))]
    assert min(counts) > 2 * steps
    whole = Terminal(HARNESS, *RUN, "--runs", "whole", cwd=folder)
    assert whole.end() == 0
    (one,), (other,) = (Store(folder / name).ids() for name in ("runs", "whole"))
    for name in ("predictions.npz", "scores.parquet", "curve.csv"):
        assert (folder / "runs" / "records" / one / name).read_bytes() == (
            folder / "whole" / "records" / other / name
        ).read_bytes()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_without_a_traceback(folder):
    # A second step that lasts, as one in native code does: no signal reaches it.
    (folder / "gate").write_text("1")
    deaf = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); time.sleep(60)"
    text = SLOW.format(gate=str(folder / "gate")).replace("time.sleep(1)", deaf)
    (folder / "slow.py").write_text(text.replace("import pathlib", "import pathlib, signal"))
    terminal = Terminal(HARNESS, *RUN, cwd=folder)
    terminal.until("training")
    terminal.interrupt()
    terminal.until("Stopping; Ctrl-C again ends it at once.")
    terminal.interrupt()
    began = time.monotonic()
    assert terminal.end() == 130
    assert time.monotonic() - began < 8  # of the ten that a worker is waited for
    assert "Traceback" not in terminal.shown
    assert left_running(folder) == []


def test_it_is_stopped_before_anything_has_begun_and_says_so(folder):
    terminal = Terminal(HARNESS, *RUN, cwd=folder)
    terminal.until("Reading the protocol ...")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "Interrupted; no trial had begun." in plain(terminal.shown)
    assert "Traceback" not in terminal.shown


@pytest.mark.slow
def test_a_batch_system_that_ends_it_gets_the_status_of_its_signal(folder):
    terminal = Terminal(HARNESS, *RUN, cwd=folder)
    terminal.until("training")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 143
    assert "it starts at step 0 again" in plain(terminal.shown)


@pytest.mark.slow
def test_an_interrupted_check_leaves_no_process_behind(folder):
    terminal = Terminal(HARNESS, "check", "slow.py", cwd=folder)
    terminal.until("imports alone")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "Interrupted; nothing was changed." in plain(terminal.shown)
    time.sleep(1.5)
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in running.splitlines() if str(folder / "slow.py") in line]


TIDYING = """
import os, signal, time
from harness.commands import interrupts

class Object:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

interrupts.listen()
try:
    Object()
    time.sleep(600)
except KeyboardInterrupt as error:
    print(interrupts.status_of(error), flush=True)
"""


def test_a_request_to_stop_that_comes_while_an_object_goes_away_is_not_lost():
    ended = subprocess.run([sys.executable, "-c", TIDYING], capture_output=True, text=True, timeout=300)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("143\n", "", 0)
