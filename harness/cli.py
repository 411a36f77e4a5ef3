"""The command line: parse, call, print."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from harness import __version__
from harness.commands import execution, plugin, sandbox, submission, tune
from harness.commands.options import CACHE, DATA, DEVICE, JOBS, PROTOCOL, RUNS, SEEDS, Number
from harness.errors import HarnessError, did_you_mean, plain, refused

if TYPE_CHECKING:
    from rich.console import Console

    from harness.cohorts.cohort import Cohort
    from harness.protocol import Protocol
    from harness.running.prepare import Prepared
    from harness.sandbox.runs import Sandbox


class Group(click.Group):
    """Commands in the order of the tour, with a suggestion for one that is misspelt."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands as they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command named by the first argument."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"There is no command '{args[0]}'.{did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Train fairness methods under one protocol and compare them by equity-scaled scores."""


@cli.command("run")
@click.argument("methods", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every method that is found.")
@PROTOCOL
@DATA
@SEEDS
@DEVICE
@JOBS
@click.option("--dry-run", is_flag=True, help="List the trials and their state, and stop.")
@click.option("--retry-failed", is_flag=True, help="Run failed trials again.")
@click.option(
    "--controls",
    is_flag=True,
    help="Also each method's twins (shuffled groups, ERM with its sampler ...).",
)
@click.option(
    "--tuned", type=click.Path(path_type=Path), help="Hyper-parameters from this file of harness tune."
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
    default=1440.0,
    show_default=True,
    help="Sandbox: how long a trial may take.",
)
@RUNS
@CACHE
def run_command(
    methods: tuple[str, ...],
    everything: bool,
    protocol: str,
    data: Path | None,
    seeds: str | None,
    device: str,
    jobs: int | None,
    dry_run: bool,
    retry_failed: bool,
    controls: bool,
    tuned: Path | None,
    sandbox: str | None,
    memory: float,
    minutes: float,
    runs: Path,
    cache: Path,
) -> None:
    """Run METHODS (names or .py files) under a protocol; what is done is never repeated.

    \b
    harness run --all                          every method, the quick protocol
    harness run erm febs --protocol mine.toml  two of them, your own protocol
    harness run path/to/mine.py --seeds 0      a method from a file, one seed
    """  # noqa: D301 - click reads the escaped character itself
    if bool(methods) == everything:
        raise HarnessError("Name the methods to run, or give --all (harness list methods shows them).")
    from harness.protocol import load
    from harness.running.board import write_protocol
    from harness.running.executors import local
    from harness.running.prepare import prepare
    from harness.running.trial import Paths
    from harness.training.device import resolve_device

    console = _console()
    chosen = load(protocol)
    if seeds is not None:
        chosen = chosen.model_copy(update={"seeds": execution.seeds(seeds)})
    place = resolve_device(device)
    box = _sandbox(device, memory, minutes, cache) if sandbox else None
    options: dict[str, Any] = {} if box is None else {"describe": box.describe}
    if tuned is not None:
        from harness.running.tune import read_for

        options["tuned"] = read_for(tuned, chosen)
    with console.status("Reading the cohort ..."):
        prepared = prepare(
            chosen, methods, Paths(runs, data, cache), protocol, controls, device=place.type, **options
        )
    execution.print_broken(console, prepared)
    if dry_run:
        _print_plan(console, prepared)
        sys.exit(1 if prepared.broken else 0)
    write_protocol(prepared, _command(protocol, methods, seeds, controls, tuned))
    slots = local.slots(device, jobs, chosen.recipe.threads)
    outcome = execution.execute(console, prepared, slots, device, retry_failed, box)
    execution.print_outcome(console, prepared, outcome)
    sys.exit(0 if execution.all_well(prepared, outcome) else 1)


@cli.command("list")
@click.argument("what", type=click.Choice(["methods", "protocols", "trials"]))
@RUNS
def list_command(what: str, runs: Path) -> None:
    """List methods, shipped protocols, or the trials that have a record."""
    lister: dict[str, Callable[[], int]] = {
        "methods": _list_methods,
        "protocols": _list_protocols,
        "trials": lambda: _list_trials(runs),
    }
    sys.exit(lister[what]())


@cli.command("show")
@click.argument("trial")
@RUNS
def show_command(trial: str, runs: Path) -> None:
    """Show one trial's record; the first characters of its id are enough."""
    from harness.store import Store

    store = Store(runs)
    matches = [name for name in store.ids() if name.startswith(trial)]
    if len(matches) != 1:
        found = "no record" if not matches else f"{len(matches)} records"
        raise HarnessError(f"{runs}: {found} with an id that begins with '{trial}' (harness list trials).")
    record = store.record(matches[0])
    console = _console()
    console.print_json(plain(record.model_dump_json(exclude={"method": {"source"}})))
    if record.status == "done":
        scores = store.spared(store.scores, record.id)
        if scores is not None:
            means = scores.drop(columns="sample").groupby("structure", sort=False).mean()
            console.print(means.round(4).to_string())
    else:
        console.print(plain(store.log(record.id), "\n\t"), markup=False, highlight=False)


@cli.command("cohort")
@click.argument("protocol", default="quick")
@DATA
@click.option("--thumbnails", type=click.Path(path_type=Path), help="Also write a PNG with a few samples.")
@click.option(
    "--audit", is_flag=True, help="Also look for what would spoil a ranking: leaks, wrong labels, drift."
)
@CACHE
def cohort_command(
    protocol: str, data: Path | None, thumbnails: Path | None, audit: bool, cache: Path
) -> None:
    """Show who is in a protocol's cohort: samples and patients per group and split."""
    from harness import cohorts
    from harness.protocol import load

    chosen = load(protocol)
    cohort = cohorts.load(chosen, data, cache)
    console = _console()
    about = f"{cohort.title}: {len(cohort.subjects)} samples, digest {cohort.digest[:12]}"
    console.print(about, markup=False)
    _print_frame(console, cohorts.describe(cohort, chosen))
    if thumbnails is not None:
        cohorts.write_thumbnails(cohort, thumbnails)
        console.print(f"Wrote {thumbnails}.", markup=False)
    if audit:
        sys.exit(_audit(cohort, chosen))


@cli.command("report")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("site"),
    show_default=True,
    help="Folder of the site.",
)
@click.option("--no-images", is_flag=True, help="Publish no image, whatever the cohort allows.")
@click.option("--open", "open_it", is_flag=True, help="Open the site in a browser.")
@click.option("--watch", is_flag=True, help="Build again whenever a trial finishes, until Ctrl-C.")
@click.option(
    "--diff",
    "old",
    type=click.Path(path_type=Path),
    help="An earlier site, or its leaderboard.json: also say which scores moved since, and why.",
)
@RUNS
def report_command(
    out: Path, no_images: bool, open_it: bool, watch: bool, old: Path | None, runs: Path
) -> None:
    """Build the leaderboard, a static site, from the records."""
    if watch and old is not None:
        raise HarnessError("--watch and --diff exclude each other: compare once the trials have finished.")
    site, index = _reporter("site"), out / "index.html"
    if watch:
        _watch(site, runs, out, not no_images, open_it)
        return
    with _kept(old, out) as before:
        began = time.monotonic()
        site.build(runs, out, images=not no_images)
        click.echo(f"Wrote {index} in {time.monotonic() - began:.1f} s.")
        if before is not None:
            click.echo(site.diff(before, out))
    if open_it:
        click.launch(str(index))


@cli.group("weights")
def weights_group() -> None:
    """Pretrained weights: fetch them, or see which are here."""


@weights_group.command("fetch")
@click.argument("name")
@click.option("--from", "source", help="A file or address to take it from instead of the known sources.")
@CACHE
def weights_fetch(name: str, source: str | None, cache: Path) -> None:
    """Fetch a checkpoint into the cache and check its SHA-256."""
    from harness.backbones import weights

    path = weights.fetch(name, cache, source)
    _console().print(f"{name}: {path}, SHA-256 checked.", highlight=False, soft_wrap=True)


@weights_group.command("list")
@CACHE
def weights_list(cache: Path) -> None:
    """List the known checkpoints and whether they are in the cache."""
    from harness.backbones import weights

    for name, checkpoint in weights.CHECKPOINTS.items():
        state = "here" if weights.is_cached(name, cache) else "not fetched"
        click.echo(f"{name:16} {checkpoint.size / 1e6:8.1f} MB  {state}")


for _command_of_a_family in (
    plugin.new_command,
    plugin.check_command,
    submission.pack_command,
    submission.verify_command,
    submission.submit_command,
    sandbox.sandbox_group,
    tune.tune_command,
):
    cli.add_command(_command_of_a_family)


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and its exit status."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except HarnessError as error:
        said = plain(str(error), "\n")
        click.echo(f"Error: {said}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read the output has enough; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        click.echo(f"Error: {refused(error)}; give a path that can be read and written.", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; the same command goes on where this one stopped.", err=True)
        sys.exit(130)


def _sandbox(device: str, memory: float, minutes: float, cache: Path) -> Sandbox:
    from harness.sandbox.limits import GB, Limits
    from harness.sandbox.runs import Sandbox

    return Sandbox.here(device, cache, Limits(memory=int(memory * GB), seconds=60 * minutes))


def _print_plan(console: Console, prepared: Prepared) -> None:
    for trial in prepared.plan.trials.values():
        status = prepared.store.status(trial.id)
        state = status if status in ("done", "failed") else "to run"
        origin = f"  starts from {trial.starts_from[:8]}" if trial.starts_from else ""
        console.print(f"{trial.id[:8]}  {state:7} {trial.label}{origin}", highlight=False, markup=False)
    console.print(f"{len(prepared.plan.trials)} trials.")


def _list_methods() -> int:
    from harness.plugin import discovery

    found = discovery.discover()
    methods, broken = discovery.load_all(list(found.values()))
    for name, method in methods.items():
        values = discovery.hyper_parameters(method, found[name])
        listed = ", ".join(f"{key}={value}" for key, value in values.items())
        click.echo(f"{name:16} {method.card.title}" + (f" ({listed})" if listed else ""))
    for one in broken:
        click.echo(f"{one.plugin.name:16} broken: {plain(one.error)}", err=True)
    return 1 if broken else 0


def _list_protocols() -> int:
    from harness.protocol import load, shipped

    for name in shipped():
        click.echo(f"{name:16} {load(name).title}")
    return 0


def _list_trials(runs: Path) -> int:
    from harness.store import Store

    store = Store(runs)
    for trial in store.ids():
        record = store.spared(store.record, trial)
        if record is None:
            click.echo(f"{trial[:8]}  damaged")
            continue
        where = f"{record.protocol} {record.method.name} {record.attribute or '-'} seed {record.seed}"
        click.echo(f"{trial[:8]}  {record.status:6}  {plain(where)}")
    return 0


def _audit(cohort: Cohort, protocol: Protocol) -> int:
    """Print what is wrong with a cohort; return 1 where a ranking on it could not be trusted."""
    from harness.cohorts.audit import audit

    findings = audit(cohort, protocol)
    for finding in findings:
        click.echo(f"{'spoils' if finding.spoils else 'look  '}  {finding.check:9}  {finding.message}")
    spoilt = sum(finding.spoils for finding in findings)
    click.echo(f"Audit: {len(findings)} findings, {spoilt} of which would spoil a ranking.")
    return 1 if spoilt else 0


def _command(
    protocol: str, methods: tuple[str, ...], seeds: str | None, controls: bool, tuned: Path | None
) -> str:
    names = " ".join(Path(m).name if "/" in m else m for m in methods) or "--all"
    given = (f" --seeds {seeds}" if seeds else "") + (" --controls" if controls else "")
    given += f" --tuned {tuned.name}" if tuned else ""
    return f"harness run {names} --protocol {Path(protocol).name}{given}"


def _reporter(name: str) -> Any:
    from importlib.metadata import entry_points

    found = {entry.name: entry for entry in entry_points(group="harness.reporters")}
    if name not in found:
        raise HarnessError(f"No reporter '{name}' is installed; run `pip install -e .` in the clone.")
    return found[name].load()


def _watch(site: Any, runs: Path, out: Path, images: bool, open_it: bool) -> None:
    click.echo(f"Watching {runs}; Ctrl-C ends it.")
    with suppress(KeyboardInterrupt):
        for build, seconds in enumerate(site.watch(runs, out, images)):
            click.echo(f"{time.strftime('%H:%M:%S')} wrote {out / 'index.html'} in {seconds:.1f} s.")
            if open_it and build == 0:
                click.launch(str(out / "index.html"))


@contextmanager
def _kept(old: Path | None, out: Path) -> Iterator[Path | None]:
    """Give the results of an earlier site; as a copy where building to `out` will replace them."""
    if old is None:
        yield None
        return
    results = old / "leaderboard.json" if old.is_dir() else old
    if not results.is_file():
        raise HarnessError(f"--diff {old}: there is no {results}; give a site that harness report built.")
    if results.resolve().parent != out.resolve():
        yield results
        return
    with TemporaryDirectory() as folder:
        yield Path(shutil.copy(results, folder))


def _print_frame(console: Console, frame: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(str, frame.columns))
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(str(value)) for value in row))
    console.print(table)


def _console() -> Console:
    from harness.commands.display import console

    return console()
