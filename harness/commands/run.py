"""`harness run`: trials of methods under a protocol, or what they would be."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import asked, execution, outlook
from harness.commands.as_json import echo as echo_json
from harness.commands.options import CACHE, DATA, DEVICE, JOBS, METHOD, PROTOCOL, RUNS, SEEDS, Number, Slice
from harness.commands.remarks import print_remarks
from harness.commands.verb import Verb
from harness.commands.waiting import counted, waiting
from harness.errors import HarnessError

if TYPE_CHECKING:
    import torch

    from harness.sandbox.runs import Sandbox


@click.command("run", cls=Verb, interrupted="no trial had begun")
@click.argument("methods", nargs=-1, type=METHOD)
@click.option("--all", "everything", is_flag=True, help="Every method that is found.")
@PROTOCOL
@DATA
@SEEDS
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME",
    help="Only this attribute of the protocol; may be repeated.  [default: all of them]",
)
@DEVICE
@JOBS
@click.option(
    "--dry-run", is_flag=True, help="List the trials, their state and how long they may take, and stop."
)
@click.option("--why", is_flag=True, help="With --dry-run: what differs from the nearest record.")
@click.option("--retry-failed", is_flag=True, help="Run failed trials again.")
@click.option(
    "--controls",
    is_flag=True,
    help="Also each method's twins (shuffled groups, ERM with its sampler ...).",
)
@click.option(
    "--tuned", type=click.Path(path_type=Path), help="Hyper-parameters from this file of harness tune."
)
@click.option(
    "--slice",
    "most",
    type=Slice(),
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Hold the graph of N samples of a batch at a time, 0 for all; auto halves until a GPU holds them.",
)
@click.option(
    "--cards",
    "each",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Share each trial among N cards: the same batch, a part of it on each.",
)
@click.option("--sandbox", type=click.Choice(["docker"]), help="Run strangers' methods in containers.")
@click.option(
    "--memory",
    type=Number(0.5, 1e6),
    default=8.0,
    show_default=True,
    help="Sandbox: gigabytes a trial may use.",
)
@click.option(
    "--minutes",
    type=Number(0, 1e6, min_open=True),
    help="How long a trial may take.  [default: any time; in a sandbox ten times as long as ERM did here]",
)
@click.option(
    "--executor",
    default="local",
    show_default=True,
    metavar="NAME",
    help="Where trials run: local, slurm, ray or what a package brings.",
)
@click.option(
    "--executor-config",
    "config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The executor's options, from [executor.NAME] of a .toml file.",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the executor, as in --set partition=gpu; may be repeated.",
)
@click.option(
    "--watcher",
    "watchers",
    multiple=True,
    metavar="NAME",
    help="Also tell of the run to this: tensorboard, mlflow, or what a package brings; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Of --dry-run: as JSON, for a program.")
@RUNS
@CACHE
def run_command(
    methods: tuple[str, ...],
    everything: bool,
    protocol: str,
    data: Path | None,
    seeds: tuple[int, ...] | None,
    attributes: tuple[str, ...],
    device: str,
    jobs: int | None,
    dry_run: bool,
    why: bool,
    retry_failed: bool,
    controls: bool,
    tuned: Path | None,
    most: int | None,
    each: int,
    sandbox: str | None,
    memory: float,
    minutes: float | None,
    executor: str,
    config: Path | None,
    given: tuple[str, ...],
    watchers: tuple[str, ...],
    as_json: bool,
    runs: Path,
    cache: Path,
) -> None:
    """Run METHODS (names or .py files) under a protocol; what is done is never repeated.

    \b
    harness run --all                          every method, the quick protocol
    harness run erm febs --protocol mine.toml  two of them, your own protocol
    harness run path/to/mine.py --seeds 0      a method from a file, one seed
    """  # noqa: D301 - click reads the escaped character itself
    if why and not dry_run:
        raise HarnessError("--why explains what --dry-run lists; give both.")
    if as_json and not dry_run:
        raise HarnessError("--json is of --dry-run; harness status --json says how trials do that run.")
    with waiting("Reading the protocol ...") as say:
        chosen = asked.protocol(protocol)
        asked.methods(methods, everything, "run", seeds, attributes, chosen)
        options: dict[str, Any] = {"controls": controls, "attributes": asked.attributes(attributes, chosen)}
        if seeds is not None:
            chosen = chosen.model_copy(update={"seeds": seeds})
        if tuned is not None:
            options["tuned"] = asked.tuned(tuned, chosen)
        if sandbox:
            asked.engine()
        place_options = asked.executor(executor, config, given)
        told = asked.watchers(watchers)
        say("Reading the cohort ...")
        asked.training(chosen, data, cache, device)
        if executor == "local" and not dry_run:
            execution.warm(chosen)
        from harness import cohorts
        from harness.running.paths import Paths
        from harness.running.prepare import in_slices, on_cards, prepare

        options["twinned"] = True
        options["cohort"] = cohorts.load(chosen, data, cache, progress=counted(say))
        say("Importing the methods ...")
        from harness.running.cards import check as check_cards
        from harness.running.executors import local
        from harness.sandbox import reaping
        from harness.training.device import cards, resolve_device

        reaping.reap()

        place = options["device"] = resolve_device(device)
        check_cards(each, place)
        box = _sandbox(place, memory, minutes, cache) if sandbox else None
        if box is not None:
            options["describe"] = box.describe
        prepared = in_slices(prepare(chosen, methods, Paths(runs, data, cache), protocol, **options), most)
        prepared = on_cards(prepared, each)
        slots = jobs or getattr(place_options, "at_once", 0)
        slots = slots or len(local.slots(place, jobs, chosen.recipe.threads, cards(device), each))
    from harness.commands.display import console as new_console

    console = new_console()
    if as_json:
        echo_json(outlook.as_table(prepared, retry_failed, why))
        sys.exit(1 if prepared.broken else 0)
    print_remarks(prepared.cohort)
    execution.print_broken(console, prepared)
    if dry_run:
        outlook.print_plan(console, prepared, slots, place, retry_failed, why)
        sys.exit(1 if prepared.broken else 0)
    from harness.running import executors
    from harness.running.board import change, write_protocol
    from harness.running.executors import Asked
    from harness.running.space import peak

    execution.print_change(console, change(prepared))
    write_protocol(prepared, _command(protocol, methods, seeds, attributes, controls, tuned))
    execution.print_strays(console, prepared.store)
    seconds = None if minutes is None or box is not None else 60 * minutes
    wanted = Asked(
        device=place,
        jobs=jobs,
        threads=chosen.recipe.threads,
        preload=execution.preload(prepared.protocol),
        runs=runs,
        seconds=seconds,
        peak=peak(prepared, place),
        cards=cards(device),
        each=each,
    )
    engine = executors.find(executor).make(wanted, place_options)
    watching = [make(prepared.store) for make in told]
    outcome = execution.execute(console, prepared, engine, place, retry_failed, box, watching)
    execution.print_outcome(console, prepared, outcome)
    execution.print_weights(console, prepared)
    sys.exit(0 if execution.all_well(prepared, outcome) else 1)


def _sandbox(device: torch.device, memory: float, minutes: float | None, cache: Path) -> Sandbox:
    from harness.sandbox.limits import GB, Limits
    from harness.sandbox.runs import Sandbox

    seconds = None if minutes is None else 60 * minutes
    return Sandbox.here(device, cache, Limits(memory=int(memory * GB), seconds=seconds))


def _command(
    protocol: str,
    methods: tuple[str, ...],
    seeds: tuple[int, ...] | None,
    attributes: tuple[str, ...],
    controls: bool,
    tuned: Path | None,
) -> str:
    names = " ".join(Path(m).name if "/" in m else m for m in methods) or "--all"
    given = f" --seeds {','.join(map(str, seeds))}" if seeds else ""
    given += "".join(f" --attribute {shlex.quote(name)}" for name in attributes)
    given += " --controls" if controls else ""
    given += f" --tuned {tuned.name}" if tuned else ""
    return f"harness run {names} --protocol {Path(protocol).name}{given}"
