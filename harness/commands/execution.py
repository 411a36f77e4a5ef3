"""Trials on this machine, as `harness run` and `harness tune` start them and tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from harness.commands import interrupts
from harness.commands.interrupts import Interrupted
from harness.commands.waiting import counted, waiting
from harness.errors import plain

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from harness.protocol import Protocol
    from harness.running.board import Change
    from harness.running.plan import Trial
    from harness.running.prepare import Prepared
    from harness.running.schedule import Outcome
    from harness.sandbox.runs import Sandbox
    from harness.store import Store

STOP_SECONDS = 10.0
"""How long a worker may take to end a step and write the last epoch that it finished."""


def preload(protocol: Protocol) -> list[str]:
    """Return what every trial imports; torch imports the third when it is made deterministic."""
    network = f"harness.backbones.{protocol.backbone.name.replace('-', '_')}"
    return ["harness.running.trial", network, "torch._inductor.standalone_compile", "harness.running.ready"]


def warm(protocol: Protocol) -> None:
    """Let the server of this machine's workers import what they need while this process reads on."""
    from harness.running.executors.local import start_server

    start_server(preload(protocol))


def local(prepared: Prepared, slots: list[dict[str, str]]) -> Executor:
    """Return this machine as an executor, a worker a slot."""
    from harness.running.executors.local import LocalExecutor

    return LocalExecutor(slots, preload=preload(prepared.protocol))


def execute(
    console: Console,
    prepared: Prepared,
    executor: Executor,
    device: torch.device,
    retry_failed: bool,
    box: Sandbox | None = None,
    watchers: Sequence[Any] = (),
) -> Outcome:
    """Run the trials of a plan and show how they go; in `box` if there is one.

    Raises Interrupted, which says what became of each trial that was under way.
    """
    from harness.commands.display import Display
    from harness.running.schedule import embed_cohort, execute
    from harness.running.trial import run_logged
    from harness.running.watchers import Several

    run_one = run_logged if box is None else box.run_logged
    slots, display = getattr(executor, "slots", 1), Display(console)
    try:
        with waiting("Looking for the frozen backbone's embeddings ...") as say:
            embed_cohort(prepared, executor, slots, device, counted(say))
        with display:
            told = Several(display, *watchers)
            outcome = execute(prepared, executor, told, slots, device, retry_failed, run_one)
    except KeyboardInterrupt as error:
        console.print("Stopping; Ctrl-C again ends it at once.", highlight=False)
        _stop(executor)
        if box is not None:
            box.remove_all()
        said = _what_is_kept(prepared, display.under_way, sandboxed=box is not None)
        raise Interrupted(said, interrupts.status_of(error)) from None
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        if box is not None:
            box.remove_all()
        raise
    executor.shutdown()
    return outcome


def _stop(executor: Executor) -> None:
    if hasattr(executor, "stop"):
        executor.stop(STOP_SECONDS)
    else:
        executor.shutdown(wait=False, cancel_futures=True)


def _what_is_kept(prepared: Prepared, under_way: Sequence[Trial], sandboxed: bool) -> str:
    """Return what is true after an interruption: what is done, and where each trial under way goes on."""
    trials = prepared.plan.trials
    done = sum(prepared.store.is_done(trial) for trial in trials)
    if not under_way:
        return (
            f"Interrupted before a trial had begun; {done} of {len(trials)} are done, embeddings that were "
            "computed are kept, and the same command goes on."
        )
    lines = [f"Interrupted; {done} of {len(trials)} trials are done."]
    lines += [f"  {trial.label}: {_goes_on(prepared, trial, sandboxed)}" for trial in under_way]
    return "\n".join([*lines, "The same command goes on from there."])


def _goes_on(prepared: Prepared, trial: Trial, sandboxed: bool) -> str:
    from harness.training.checkpoint import before, epochs_in
    from harness.training.job import Schedule

    if prepared.store.is_done(trial.id):
        return "done"
    if sandboxed and trial.about.trains_own_model:
        return "a model that trains in a container keeps nothing: it starts at step 0 again"
    epochs = Schedule.of(trial.protocol.recipe, finetunes=trial.finetunes).epochs
    file = prepared.store.checkpoint(trial.id)
    kept = epochs_in(file) or epochs_in(before(file))
    if not kept:
        return "nothing was saved yet: it starts at step 0 again"
    if kept == epochs:
        return "is trained; goes on with predicting"
    return f"goes on at epoch {kept + 1} of {epochs}"


def print_change(console: Console, found: Change) -> None:
    """Say, before anything runs, which boards stay beside the one that is written, what leaves it."""
    for other, apart in found.others.items():
        console.print(
            f"The board '{other}' is of another protocol ({apart}); it stays as it is, and this run's board "
            f"is '{found.key}' (harness board archive {other} sets the other aside).",
            markup=False,
            highlight=False,
        )
    for method, why in found.replaced.items():
        console.print(
            f"Rows of {method} leave the board '{found.key}': {why}. Their records stay.",
            markup=False,
            highlight=False,
        )
    for method, count in found.outdated.items():
        console.print(
            f"{count} scores of {method} on the board '{found.key}' were made with other code and wait for "
            f"their trials: harness run {method.partition(':')[0]} makes them, of every seed that is given. "
            "The old records stay.",
            markup=False,
            highlight=False,
        )


def print_strays(console: Console, store: Store) -> None:
    """Say which records are on no board, so that none that was copied here is overlooked."""
    from harness.running.boards import on_no_board, said_of

    if said := said_of(on_no_board(store)):
        console.print(plain(said), markup=False, highlight=False)


def all_well(prepared: Prepared, outcome: Outcome) -> bool:
    """Tell whether every plugin could be loaded and every trial is done."""
    return not prepared.broken and outcome.count("done") == len(prepared.plan.trials)


def print_outcome(console: Console, prepared: Prepared, outcome: Outcome) -> None:
    """Say how the trials ended, and why some did not."""
    total = len(prepared.plan.trials)
    if outcome.rescored:
        console.print(
            f"Scored {len(outcome.rescored)} records again from their kept predictions: the metrics or the "
            "true masks changed since. Nothing was trained for it."
        )
    if outcome.again:
        console.print(
            f"Trained {len(outcome.again)} trials again for the weights that others start from; their "
            "records are as they were."
        )
    if outcome.already == total:
        console.print(f"Nothing to do: all {total} trials are done.")
    else:
        parts = [f"{len(trials)} {status}" for status, trials in outcome.by_status.items()]
        console.print(f"{total} trials: {', '.join(parts)}; {outcome.already} of them were done before.")
        if outcome.elsewhere:
            console.print(f"{outcome.elsewhere} of them were run by another process meanwhile.")
    for message in dict.fromkeys(outcome.errors):
        console.print("[red]stopped[/] ", end="")
        console.print(plain(message), markup=False, highlight=False, soft_wrap=True)
    for trial in outcome.by_status.get("failed", []):
        error = prepared.store.record(trial.id).error
        console.print(f"[red]failed[/] {trial.label}: ", end="")
        console.print(plain(error), markup=False, highlight=False, soft_wrap=True)
    if outcome.count("failed"):
        console.print("harness show ID has the traceback; --retry-failed runs them again.")


def print_weights(console: Console, prepared: Prepared) -> None:
    """Remove the weights that nothing starts from, and say how much stays and goes."""
    from harness.running.space import prune, readable

    found = prune(prepared)
    if found.removed:
        console.print(
            f"Removed the weights of {found.removed} trials ({readable(found.removed_bytes)}): no method "
            f"here starts from them; kept those of {found.kept} ({readable(found.kept_bytes)}).",
            highlight=False,
        )


def print_broken(console: Console, prepared: Prepared) -> None:
    """Name the plugins that could not be loaded."""
    for broken in prepared.broken:
        console.print(f"[red]broken plugin[/] {broken.plugin.name}: ", end="")
        console.print(plain(broken.error), markup=False, highlight=False, soft_wrap=True)
