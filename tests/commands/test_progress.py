"""What a long phase says of how far it is: on a terminal alone, a few times a second, with what is left."""

from __future__ import annotations

import pytest
import tomli_w
from click.testing import CliRunner
from tiny import PROTOCOL

from harness.cli import cli
from harness.commands import waiting


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    return now


def test_it_says_how_many_of_how_many_and_how_long_the_rest_takes(clock):
    said: list[str] = []
    tell = waiting.counted(said.append)
    for done in range(5):
        tell("Scoring", done, 600)
        clock[0] += 1.0
    tell("Scoring", 300, 600)
    assert said[0] == "Scoring: 0 of 600 ..."  # no pace yet
    assert said[1] == "Scoring: 1 of 600, 10 min to go ..."  # 599 more at one a second
    assert said[-1] == "Scoring: 300 of 600, 5 s to go ..."  # 300 in 5 seconds


def test_a_phase_that_goes_on_where_another_stopped_counts_its_own_pace_alone(clock):
    said: list[str] = []
    tell = waiting.counted(said.append)
    tell("Embedding", 900, 1000)  # 900 are an earlier run's
    clock[0] += 10.0
    tell("Embedding", 910, 1000)
    assert said[-1] == "Embedding: 910 of 1000, 90 s to go ..."


def test_a_terminal_is_told_ten_times_a_second_and_of_the_last_and_of_each_new_phase(clock):
    said: list[str] = []
    tell = waiting.counted(said.append)
    for done in range(1000):
        tell("Reading", done + 1, 1000)
        clock[0] += 0.001
    tell("Checking", 0, 8)
    assert len(said) == 12  # ten in the second, the last, and the next phase
    assert said[-2:] == ["Reading: 1000 of 1000 ...", "Checking: 0 of 8 ..."]


@pytest.mark.parametrize("watched", [True, False])
def test_an_audit_counts_samples_and_checks_where_somebody_watches(tmp_path, monkeypatch, watched):
    small = PROTOCOL | {"cohort": PROTOCOL["cohort"] | {"size": 32, "samples": 40}}
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(small))
    said: list[str] = []
    if watched:
        monkeypatch.setattr(waiting, "_nothing", said.append)  # what a terminal would show
    done = CliRunner().invoke(
        cli, ["cohort", str(tmp_path / "tiny.toml"), "--audit", "--cache", str(tmp_path / "cache")]
    )
    assert "Audit:" in done.stdout
    assert done.stderr == ""
    phases = {line.partition(":")[0] for line in said if " of " in line}
    assert phases == ({"Reading the cohort", "Looking at the samples", "Checking"} if watched else set())
