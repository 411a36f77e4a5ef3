"""`--json`: of every verb that lists or judges, JSON and nothing else, with the status of the words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
import tomli_w
from click.testing import CliRunner
from make_records import World, make_store
from tiny import PROTOCOL

from harness.cli import cli
from harness.errors import HarnessError

DOES = {
    "board archive", "board init", "board restore", "data fetch", "export", "init", "logs", "new", "pack",
    "publish", "report", "sandbox build", "submit", "tune", "weights fetch", "withdraw",
}  # fmt: skip
"""What changes or writes something, and says in a sentence that it did."""


def verbs(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            found = command.get_command(context, word)
            assert found is not None
            yield from verbs(found, f"{name} {word}".strip())
    else:
        yield name, command


def test_every_verb_that_lists_or_judges_has_it_and_no_other_verb_is_unaccounted_for():
    has = {name: any("--json" in one.opts for one in verb.params) for name, verb in verbs(cli)}
    assert {name for name, there in has.items() if not there} == DOES


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    small = PROTOCOL | {"cohort": PROTOCOL["cohort"] | {"size": 32, "samples": 40}}
    (folder / "tiny.toml").write_text(tomli_w.dumps(small))
    make_store(
        folder / "runs", World(methods=("erm", "adv"), samples=40, failed=frozenset({("adv", "race", 1)}))
    )
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "board list", "cohort {0}/tiny.toml --audit", "data list", "doctor", "gc --dry-run", "list methods",
        "list protocols", "list space", "list trials", "merge {0}/runs", "plan --power", "sandbox status",
        "run erm --dry-run --protocol {0}/tiny.toml", "status", "weights list",
    ],
)  # fmt: skip
def test_it_is_json_and_nothing_else_with_the_status_of_the_words(place, tmp_path, words):
    arguments = words.format(place).split()
    (verb,) = (verb for name, verb in verbs(cli) if f"{words} ".startswith(f"{name} "))
    flags = {option for one in verb.params for option in one.opts}
    where = tmp_path / "runs" if "merge" in words else place / "runs"
    arguments += ["--runs", str(where)] if "--runs" in flags else []
    arguments += ["--cache", str(place / "cache")] if "--cache" in flags else []
    said = CliRunner().invoke(cli, [*arguments, "--json"])
    assert json.loads(said.stdout) is not None
    assert said.exit_code == CliRunner().invoke(cli, arguments).exit_code


def test_what_is_no_number_is_null(place):
    said = CliRunner().invoke(cli, ["plan", "--power", "--json", "--runs", str(place / "runs")])
    rows = json.loads(said.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["needed"]
    assert {row["attribute"] for row in rows} == {"race", "gender"}


def test_a_run_that_trains_has_none_and_says_where_it_is(place):
    done = CliRunner().invoke(cli, ["run", "erm", "--json", "--protocol", str(place / "tiny.toml")])
    assert isinstance(done.exception, HarnessError)
    assert "harness status --json" in str(done.exception)
