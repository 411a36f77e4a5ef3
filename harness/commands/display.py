"""What a run shows: one live line a running trial in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from harness.running.plan import Trial

WIDE = 1_000
"""Columns where nobody watches: a line in a file or a pipe is one line, however long."""

_SIGNS = {"done": "[green]done[/]", "failed": "[red]failed[/]"}


def console() -> Console:
    """Return where a command prints: lines wrap at a terminal's edge, and nowhere else."""
    found = Console()
    return found if found.is_terminal else Console(soft_wrap=True, width=WIDE)


class Display:
    """A `run.Watcher` for people. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.total = self.ended = 0
        self.slots = 1
        self.seconds: list[float] = []
        self.under_way: list[Trial] = []
        self.began = time.monotonic()
        self.live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.update(Text(""))
            self.live.stop()

    def begin(self, todo: Sequence[Trial], already: int, slots: int) -> None:
        """Say how much there is to do."""
        self.total, self.slots = len(todo), min(slots, max(1, len(todo)))
        if todo:
            skipped = f", {already} already done" if already else ""
            self.console.print(f"{self.total} trials to run{skipped}, {self.slots} at a time.")

    def running(self, progress: Sequence[tuple[Trial, dict[str, Any]]]) -> None:
        """Redraw the live lines."""
        self.under_way = [trial for trial, state in progress if state["stage"] != "elsewhere"]
        if self.live:
            self.live.update(Group(*(_bar(trial, state) for trial, state in progress), self._footer()))

    def finished(self, trial: Trial, status: str, seconds: float) -> None:
        """Leave a line for a trial that ended."""
        self.ended += 1
        if status == "done":
            self.seconds.append(seconds)
        sign = _SIGNS.get(status, f"[yellow]{status}[/]")
        eta = f", {_clock(self._remaining())} to go" if self.ended < self.total and self.seconds else ""
        what = escape(trial.label)
        self.console.print(
            f"[{self.ended}/{self.total}] {what} {sign} in {_clock(seconds)}{eta}", highlight=False
        )

    def _remaining(self) -> float:
        if not self.seconds:
            return 0.0
        return sum(self.seconds) / len(self.seconds) * (self.total - self.ended) / self.slots

    def _footer(self) -> Text:
        eta = f"about {_clock(self._remaining())} to go" if self.seconds else "estimating"
        return Text(f"{self.ended} of {self.total} trials, {eta}", style="dim")


def _bar(trial: Trial, state: dict[str, Any]) -> Progress:
    """Return one line: label, bar, stage and count."""
    bar = Progress(
        TextColumn("{task.description:32}"),
        BarColumn(),
        TextColumn("{task.fields[stage]}"),
        MofNCompleteColumn(),
    )
    bar.add_task(escape(trial.label), total=state["total"], completed=state["done"], stage=state["stage"])
    return bar


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
