"""The blocks of the documentation: commands, which are run as written or say why not, and files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+?) -->\n)?"
    r'```(?P<kind>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)```',
    re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is, why it is not run, and its text."""

    kind: str
    file: str
    why: str
    text: str

    @property
    def commands(self) -> Iterator[list[str]]:
        """The words of each line, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def blocks(page: Path) -> list[Block]:
    return [
        Block(one["kind"], one["file"] or "", one["why"] or "", one["text"])
        for one in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]
