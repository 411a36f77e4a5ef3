"""`harness tune`: hyper-parameters chosen on training patients, as many tries for every method."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands import asked, execution
from harness.commands.options import CACHE, DATA, DEVICE, JOBS, METHOD, PROTOCOL, RUNS, SEEDS
from harness.commands.verb import Verb
from harness.commands.waiting import counted, waiting
from harness.errors import plain

if TYPE_CHECKING:
    from harness.store import Tuned


@click.command("tune", cls=Verb, interrupted="no try had begun")
@click.argument("methods", nargs=-1, type=METHOD)
@click.option("--all", "everything", is_flag=True, help="Every method that is found.")
@click.option(
    "--budget",
    type=click.IntRange(1),
    required=True,
    help="Tries a method, its values as they are the first.",
)
@PROTOCOL
@DATA
@SEEDS
@DEVICE
@JOBS
@click.option("--retry-failed", is_flag=True, help="Run failed trials again.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write.  [default: RUNS/tuning/PROTOCOL.json]"
)
@RUNS
@CACHE
def tune_command(
    methods: tuple[str, ...],
    everything: bool,
    budget: int,
    protocol: str,
    data: Path | None,
    seeds: tuple[int, ...] | None,
    device: str,
    jobs: int | None,
    retry_failed: bool,
    out: Path | None,
    runs: Path,
    cache: Path,
) -> None:
    """Choose hyper-parameters of METHODS by ES-Dice on training patients; test patients are left out.

    Every method gets the same number of tries over the ranges that it declares, on the protocol's first
    seed unless --seeds says otherwise; one that declares none is trained once. What was tried goes to a
    file for `harness run --tuned`, and from there onto the board. Tries are never repeated.
    """
    with waiting("Reading the protocol ...") as say:
        chosen = asked.protocol(protocol)
        asked.methods(methods, everything, "tune", seeds, (), chosen)
        chosen = chosen.model_copy(update={"seeds": seeds or chosen.seeds[:1]})
        from harness.running import tune
        from harness.running.paths import Paths

        file = out or runs / tune.FOLDER / f"{chosen.name}.json"
        if file.is_file():
            tune.check_same_terms(file, chosen, budget)
        say("Reading the cohort ...")
        asked.training(chosen, data, cache, device)
        from harness import cohorts

        cohort = cohorts.load(tune.without_test(chosen), data, cache, counted(say))
        say("Importing the methods ...")
        from harness.running.executors import local
        from harness.training.device import cards, resolve_device

        place = resolve_device(device)
        paths = Paths(runs, data, cache)
        search = tune.prepare_tuning(chosen, methods, paths, protocol, budget, place, cohort)
        tune.check_writable(file)
        slots = local.slots(place, jobs, chosen.recipe.threads, cards(device))
    from harness.commands.display import console as new_console

    console = new_console()
    execution.print_broken(console, search.prepared)
    outcome = execution.execute(
        console, search.prepared, execution.local(search.prepared, slots), place, retry_failed
    )
    execution.print_outcome(console, search.prepared, outcome)
    execution.print_weights(console, search.prepared)
    found, failed = tune.choose(search)
    again = tune.write(file, chosen, search, found)
    for name, tuned in found.items():
        click.echo(_said(name, tuned))
    for name, error in failed.items():
        click.echo(f"{name}: no try ended, so nothing is chosen: {plain(error)}", err=True)
    for name in again:
        click.echo(f"{name}: was tuned before, with other code or outcomes; those tries stay in {file}.")
    click.echo(f"Wrote {file}; harness run --tuned {file} uses it.")
    sys.exit(0 if execution.all_well(search.prepared, outcome) else 1)


def _said(name: str, tuned: Tuned) -> str:
    scores = [one.score for one in tuned.tries if one.score is not None]
    best, first = max(scores), tuned.tries[0].score
    values = ", ".join(f"{key}={value}" for key, value in tuned.values.items())
    if len(tuned.tries) == 1:
        return f"{name}: nothing to choose ({values or 'no hyper-parameters'}), ES-Dice {best:.4f}"
    before = "failed" if first is None else f"{first:.4f}"
    return (
        f"{name}: {values}, ES-Dice {best:.4f} on {tuned.patients} training patients "
        f"(as it was: {before}; {len(tuned.tries)} tries)"
    )
