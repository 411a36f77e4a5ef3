"""The command line: its commands, and how it ends."""

from __future__ import annotations

import os
import sys

import click

from harness import __version__
from harness.commands import (
    board,
    cohort,
    data,
    init,
    interrupts,
    merge,
    plugin,
    power,
    publish,
    records,
    report,
    run,
    sandbox,
    score,
    status,
    submission,
    tune,
    upkeep,
    weights,
)
from harness.commands.interrupts import Interrupted
from harness.commands.verb import Verbs
from harness.errors import HarnessError, plain, refused


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Train fairness methods under one protocol and compare them by equity-scaled scores."""


for _command in (
    run.run_command,
    power.plan_command,
    records.list_command,
    records.show_command,
    init.init_command,
    cohort.cohort_command,
    report.report_command,
    publish.publish_command,
    score.score_command,
    weights.weights_group,
    data.data_group,
    plugin.new_command,
    plugin.check_command,
    submission.pack_command,
    submission.verify_command,
    submission.submit_command,
    sandbox.sandbox_group,
    tune.tune_command,
    board.board_group,
    board.withdraw_command,
    merge.merge_command,
    status.status_command,
    status.logs_command,
    upkeep.gc_command,
    upkeep.doctor_command,
    upkeep.export_command,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and its exit status."""
    interrupts.listen()
    status = _status()
    # What is left is Python's own end, of which nothing can be told.
    interrupts.ending()
    sys.exit(status)


def _status() -> int | str | None:
    try:
        cli(prog_name="harness", standalone_mode=False)
    except SystemExit as error:
        return error.code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HarnessError as error:
        return _said(plain(str(error), "\n"), error.exit_code)
    except BrokenPipeError:
        # Whoever read the output has enough; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _said(f"{refused(error)}; give a path that can be read and written.", 2)
    except Interrupted as error:
        click.echo(plain(str(error), "\n"), err=True)
        return error.status
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo("Interrupted.", err=True)
        return interrupts.status_of(error)
    return 0


def _said(sentence: str, status: int) -> int:
    click.echo(f"Error: {sentence}", err=True)
    return status
