"""Trials on this machine, as `harness run` and `harness tune` start them and tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from rich.console import Console

    from harness.running.board import Change
    from harness.running.prepare import Prepared
    from harness.running.schedule import Outcome
    from harness.sandbox.runs import Sandbox


def execute(
    console: Console,
    prepared: Prepared,
    slots: list[dict[str, str]],
    device: str,
    retry_failed: bool,
    box: Sandbox | None = None,
) -> Outcome:
    """Run the trials of a plan, a worker a slot, and show how they go; in `box` if there is one."""
    from harness.commands.display import Display
    from harness.running.executors.local import LocalExecutor
    from harness.running.schedule import embed_cohort, execute
    from harness.running.trial import run_logged

    run_one = run_logged if box is None else box.run_logged
    # What every trial imports, once; torch imports the last when it is made deterministic.
    network = prepared.protocol.backbone.name.replace("-", "_")
    preload = ["harness.running.trial", f"harness.backbones.{network}", "torch._inductor.standalone_compile"]
    executor = LocalExecutor(slots, preload=preload)
    try:
        with console.status("Computing the frozen backbone's embeddings ..."):
            embed_cohort(prepared, executor, len(slots), device)
        with Display(console) as display:
            outcome = execute(prepared, executor, display, len(slots), device, retry_failed, run_one)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        if box is not None:
            box.remove_all()
        raise
    executor.shutdown()
    return outcome


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
    if outcome.already == total:
        console.print(f"Nothing to do: all {total} trials are done.")
    else:
        parts = [f"{len(trials)} {status}" for status, trials in outcome.by_status.items()]
        console.print(f"{total} trials: {', '.join(parts)}; {outcome.already} of them were done before.")
    for message in dict.fromkeys(outcome.errors):
        console.print("[red]stopped[/] ", end="")
        console.print(plain(message), markup=False, highlight=False, soft_wrap=True)
    for trial in outcome.by_status.get("failed", []):
        error = prepared.store.record(trial.id).error
        console.print(f"[red]failed[/] {trial.label}: ", end="")
        console.print(plain(error), markup=False, highlight=False, soft_wrap=True)
    if outcome.count("failed"):
        console.print("harness show ID has the traceback; --retry-failed runs them again.")


def print_broken(console: Console, prepared: Prepared) -> None:
    """Name the plugins that could not be loaded."""
    for broken in prepared.broken:
        console.print(f"[red]broken plugin[/] {broken.plugin.name}: ", end="")
        console.print(plain(broken.error), markup=False, highlight=False, soft_wrap=True)


def seeds(text: str) -> tuple[int, ...]:
    """Read the value of --seeds. Raises HarnessError for what is not whole numbers."""
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise HarnessError(f"--seeds {text}: give whole numbers with commas between them: 0,1,2.") from None
