"""A run that is killed at any moment leaves nothing behind once the next one has started."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import tomli_w
from tiny import PROTOCOL

from harness.sandbox import engine, reaping

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)


@pytest.fixture(scope="module")
def place(image, tmp_path_factory):
    """A protocol that trains long enough to be killed, and a temporary folder of its own."""
    folder = tmp_path_factory.mktemp("killed")
    table = PROTOCOL | {"attributes": {"race": {}}, "seeds": [0]}
    table |= {"recipe": PROTOCOL["recipe"] | {"epochs": 60}}
    (folder / "tiny.toml").write_text(tomli_w.dumps(table))
    (folder / "tmp").mkdir()
    return folder


def started(place, *options: str) -> subprocess.Popen:
    given = ["--protocol", place / "tiny.toml", "--runs", place / "runs", "--cache", place / "cache"]
    command = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "erm",
        "--sandbox",
        "docker",
        *map(str, given),
        *options,
    ]
    there = os.environ | {"TMPDIR": str(place / "tmp")}
    return subprocess.Popen([*command, *options], env=there, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def containers(place) -> list[str]:
    found = engine.connect().containers.list(all=True, filters={"label": reaping.LEASE}, ignore_removed=True)
    return [one.id for one in found if str(place) in one.labels[reaping.LEASE]]


def wait_for_container(place, run) -> None:
    while not containers(place) and run.poll() is None:
        time.sleep(0.05)


def folders(place) -> list[str]:
    return [path.name for path in (place / "tmp").iterdir() if path.name.startswith("harness-")]


def test_nothing_runs_or_lies_about_after_the_next_run_wherever_the_last_was_killed(place):
    rng, seen = random.Random(19), []
    for moment in range(10):
        run = started(place)
        if moment % 2:
            # While its container starts, imports and trains; else before there is one, on most machines.
            wait_for_container(place, run)
        time.sleep(rng.uniform(0, 4))
        run.send_signal(rng.choice(SIGNALS))
        run.wait(300)
        seen.append((len(containers(place)), len(folders(place))))
        print(moment, seen[-1], flush=True)
        after = started(place, "--dry-run")
        assert after.wait(300) == 0, after.stdout.read().decode()
        assert (containers(place), folders(place)) == ([], [])
    # Else it was killed before it had begun anything, and nothing was shown.
    assert any(left for left, _ in seen)
