"""Figures that a process of its own draws are those that are drawn here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START = """
import os, signal, sys, time
from leaderboard import parallel
from leaderboard.draw import drawer

parallel._most = 2
def spec(i, more=0):
    rows = [{"a": n, "b": n * i, "said": "s" * more} for n in range(5)]
    encoding = {name: {"field": name, "type": "quantitative"} for name in "ab"}
    encoding = {"x": encoding["a"], "y": encoding["b"], "description": {"field": "said", "type": "nominal"}}
    return {"data": {"values": rows}, "mark": "point", "encoding": encoding}
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_another_process_draws_is_what_is_drawn_here():
    run("""
with drawer.drawing():
    drawer.start(100)
    # More than a connection holds, asked before the first is read, and read the last first.
    waiting = [drawer.ask(spec(i, 30_000)) for i in range(6)]
    found = [wait() for wait in reversed(waiting)][::-1]
    assert "vl_convert" not in sys.modules
    assert len(set(found)) == 6
assert found == [drawer.drawn(spec(i, 30_000)) for i in range(6)]
""")


def test_what_cannot_be_drawn_says_what_it_says_here():
    run("""
def why(draw):
    try:
        draw()
    except ValueError as error:
        return str(error)

with drawer.drawing():
    drawer.start(100)
    bad, good = drawer.ask({"mark": 7}), drawer.ask(spec(1))
    said = why(bad)
    assert said
    assert said == why(lambda: drawer.drawn({"mark": 7}))
    assert good() == drawer.drawn(spec(1))
""")


def test_no_process_is_left_behind():
    run("""
import multiprocessing
with drawer.drawing():
    drawer.start(100)
    assert len(multiprocessing.active_children()) == 1
assert not multiprocessing.active_children()
""")


def test_where_the_process_is_gone_figures_are_drawn_here():
    run("""
import multiprocessing
with drawer.drawing():
    drawer.start(100)
    first = drawer.ask(spec(1))()
    (process,) = multiprocessing.active_children()
    process.kill()
    process.join()
    assert "vl_convert" not in sys.modules
    assert drawer.ask(spec(1))() == first
    assert drawer.ask(spec(2))() != first
""")


def test_the_process_ends_with_the_one_that_started_it():
    code = """
import multiprocessing
with drawer.drawing():
    drawer.start(100)
    (process,) = multiprocessing.active_children()
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    # Nothing is caught: the process that draws would hold a pipe open for as long as it is there.
    with tempfile.TemporaryFile() as said:
        killed = subprocess.run([sys.executable, "-c", START + code], stdout=said, timeout=100, check=False)
        assert killed.returncode == -signal.SIGKILL
        said.seek(0)
        process = int(said.read())
    while is_there(process):
        time.sleep(0.1)


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # One that has ended and that nobody has asked after is a zombie.
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
