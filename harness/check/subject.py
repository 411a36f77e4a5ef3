"""What is checked, what is known of it so far, and the line that a check leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.plugin.discovery import Plugin


@dataclass(frozen=True)
class Line:
    """One check's outcome: what was found and, where it failed, how to mend it."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    text: str = ""


@dataclass
class Subject:
    """A plugin under check; `scratch` is a folder for whatever the checks write.

    stopped: why later themes find no ground, "" where they do; incidents: what it tried in any child
    process, as (kind, sentence).
    """

    plugin: Plugin
    scratch: Path
    stopped: str = ""
    incidents: list[tuple[str, str]] = field(default_factory=list)


def verdict(name: str, problem: str, text: str = "") -> Line:
    """Return a line that failed for `problem`, or is ok where there is none."""
    return Line(name, "failed", problem) if problem else Line(name, "ok", text)
