"""Checks of what a plugin tried to do in all the processes before: network, processes, files."""

from __future__ import annotations

from collections.abc import Iterator

from harness.check.subject import Line, Subject, verdict

_KINDS = {
    "network": ("needs no network", "Trials run without one; ship what it needs in the file."),
    "process": ("starts no process", "Do the work in the loss itself."),
    "files": ("writes nothing outside", "Keep results in buffers; files outside a trial's folder are lost."),
}

NAMES = tuple(name for name, _ in _KINDS.values())


def check(subject: Subject) -> Iterator[Line]:
    """Yield a line for each kind of conduct; what was noticed was also refused."""
    for kind, (name, fix) in _KINDS.items():
        seen = [text for found, text in subject.incidents if found == kind]
        yield verdict(name, f"{seen[0]} (refused). {fix}" if seen else "")
