"""How much is enough: by each attribute that two methods have run under, and a word of the others."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from make_records import World, make_store

from harness.cli import cli
from harness.errors import HarnessError

WORLD = {"methods": ("erm", "adv"), "attributes": ("race", "gender"), "seeds": (0, 1), "samples": 60}


def asked(folder, *missing: str):
    cells = frozenset(("adv", attribute, seed) for attribute in missing for seed in (0, 1))
    make_store(folder / "runs", World(missing=cells, **WORLD))
    return CliRunner().invoke(cli, ["plan", "--power", "--runs", str(folder / "runs")])


def test_an_attribute_under_which_one_method_ran_costs_itself_only(tmp_path):
    done = asked(tmp_path, "gender")
    assert done.exit_code == 0, done.output
    assert {line.split()[0] for line in done.stdout.splitlines()[1:]} == {"race"}
    assert "Nothing is said by gender: it takes two methods with two finished seeds." in done.stderr


def test_where_no_two_methods_ran_it_is_an_error(tmp_path):
    done = asked(tmp_path, "race", "gender")
    assert isinstance(done.exception, HarnessError)
    assert "has no two methods with two finished seeds" in str(done.exception)


@pytest.mark.parametrize("attribute", ["race", "gender"])
def test_every_attribute_with_two_methods_is_there(tmp_path, attribute):
    assert f"\n{attribute}" in "\n".join(line.strip() for line in asked(tmp_path).stdout.splitlines())
