"""Limits that no trial could run under are refused before anything starts."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from harness.cli import cli


@pytest.mark.parametrize(("option", "value"), [("--memory", "-3"), ("--memory", "nan"), ("--minutes", "0")])
def test_an_impossible_limit_is_one_sentence_that_names_the_option(option, value):
    done = CliRunner().invoke(cli, ["run", "erm", "--sandbox", "docker", option, value])
    assert done.exit_code == 2
    assert f"Invalid value for '{option}'" in done.output
