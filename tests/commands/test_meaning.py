"""What does not exist is answered with what was meant, by its meaning first."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.commands import meaning


def said(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments), prog_name="harness")
    assert done.exit_code == 2
    return done.output


@pytest.mark.parametrize(
    ("command", "option", "found"),
    [
        ("run", "--gpu", "--device"),
        ("run", "--seed", "--seeds"),
        ("run", "--random-state", "--seeds"),
        ("run", "--attributes", "--attribute"),
        ("run", "--sensitive-attribute", "--attribute"),
        ("run", "--output", "--runs"),
        ("run", "--config", "--protocol"),
        ("run", "--dataset", "--data"),
        ("run", "--workers", "--jobs"),
        ("run", "--force", "--retry-failed"),
        ("run", "--dryrun", "--dry-run"),
        ("run", "--timeout", "--minutes"),
        ("run", "--docker", "--sandbox"),
        ("run", "--hparams", "--tuned"),
        ("run", "--explain", "--why"),
        ("run", "--mem", "--memory"),
        ("report", "--output", "--out"),
        ("report", "--compare", "--diff"),
        ("report", "--live", "--watch"),
        ("report", "--results", "--runs"),
        ("tune", "--trials", "--budget"),
        ("verify", "--seed", "--rerun"),
        ("pack", "--o", "--out"),
        ("list", "--raw", "--json"),
        ("score", "--gt", "--truth"),
        ("score", "--metadata", "--table"),
        ("score", "--subject-id", "--patient"),
        ("score", "--sensitive-attribute", "--attribute"),
        ("cohort", "--pictures", "--thumbnails"),
        ("run", "--scheduler", "--executor"),
        ("run", "--tracker", "--watcher"),
        ("run", "--opt", "--set"),
        ("export", "--license", "--licence"),
        ("export", "--doi", "--zenodo"),
        ("publish", "--doi", "--archive"),
        ("publish", "--base-url", "--address"),
        ("publish", "--changes", "--diff"),
        ("logs", "--tail", "--follow"),
        # Spelling still counts where meaning says nothing.
        ("run", "--protocl", "--protocol"),
        ("run", "--retry-faild", "--retry-failed"),
        ("report", "--no-image", "--no-images"),
    ],
)
def test_an_option_is_answered_with_the_one_that_does_it(command, option, found):
    assert f"There is no option '{option}'. Did you mean '{found}'?" in said(command, option, "x")


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("--epochs", "recipe"),
        ("--lr", "recipe"),
        ("--batch_size", "recipe"),
        ("--image-size", "cohort"),
        ("--backbone", "backbone"),
        ("--folds", "split"),
        ("--structure", "structures"),
    ],
)
def test_what_the_protocol_decides_is_no_option_and_it_is_said_where_it_stands(option, part):
    answer = " ".join(said("run", option, "x").split())
    assert f"It is the protocol's ([{part}]), the same for every method" in answer


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("run", "--method", "erm"), "Methods are named without an option, as in `harness run erm febs`."),
        (("run", "--resume"), "goes on by itself when the same command is given again."),
        (
            ("report", "--attribute", "x"),
            "`harness report` has no option '--attribute'; `harness run` has it.",
        ),
        (("--protocol", "x", "run"), "Options come after the command, as in `harness run --protocol ...`."),
        (("run", "--xyzzy"), "`harness run --help` lists what there is."),
    ],
)
def test_other_words_get_an_answer_too(arguments, answer):
    assert answer in " ".join(said(*arguments).split())


COMMANDS = {
    "train": "run", "leaderboard": "report", "ls": "list", "download": "weights", "scaffold": "new",
    "test": "check", "upload": "submit", "search": "tune", "demographics": "cohort", "fetch": "weights",
    "squeue": "status", "tail": "logs", "prune": "gc", "diagnose": "doctor", "doi": "export",
    "cat": "show", "rm": "withdraw", "restore": "board", "docker": "sandbox", "reprot": "report",
    "deploy": "publish", "feed": "publish", "evaluate": "score", "metrics": "score", "combine": "merge",
}  # fmt: skip


@pytest.mark.parametrize(("word", "found"), COMMANDS.items())
def test_a_command_is_answered_with_the_one_that_does_it(word, found):
    assert f"There is no command '{word}'. Did you mean '{found}'?" in said(word)


DEVICES = {
    "gpu": "cuda", "GPU": "cuda", "0": "cuda:0", "cuda0": "cuda:0", "cude": "cuda", "any": "auto",
}  # fmt: skip


@pytest.mark.parametrize(("word", "found"), DEVICES.items())
def test_a_device_is_answered_with_ours(word, found):
    assert meaning.meant(word, ("auto", "cpu", "cuda", "cuda:0"), meaning.DEVICES) == found


def options(command: click.Command) -> set[str]:
    if isinstance(command, click.Group):
        return {option for inner in command.commands.values() for option in options(inner)}
    return {name for param in command.params if isinstance(param, click.Option) for name in param.opts}


def test_every_word_stands_for_something_that_there_is():
    assert set(meaning.OPTIONS) - {"--help", "--version"} <= options(cli)
    assert set(meaning.COMMANDS) == set(cli.commands)
