"""A repository for submissions to a board: one folder each, workflows, a reviewer's page."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import harness
from harness.errors import HarnessError
from harness.protocol import Protocol
from harness.store import files

_PLACES = {
    "README.md": "README.md.txt",
    "REVIEWING.md": "REVIEWING.md.txt",
    "signers": "signers.txt",
    ".github/workflows/verify.yml": "verify.yml.txt",
    ".github/verify.sh": "verify.sh.txt",
    ".github/workflows/publish.yml": "publish.yml.txt",
    ".gitlab-ci.yml": "gitlab-ci.yml.txt",
    ".ci/publish.sh": "publish.sh.txt",
    ".gitignore": "gitignore.txt",
    "submissions/.gitkeep": "",
}
"""Path in the repository to the template that it is made from, "" for an empty file."""


def init(folder: Path, protocol: Protocol) -> list[str]:
    """Fill a new folder with the files of a submissions repository; return their paths.

    One that was interrupted is completed. Raises HarnessError for a folder that holds something else.
    """
    values = {"protocol": protocol.name, "seed": protocol.seeds[0], "version": harness.__version__}
    due = {
        folder / name: _filled(template, values).encode() if template else b""
        for name, template in _PLACES.items()
    }
    if any(path not in due or path.read_bytes() != due[path] for path in _there(folder)):
        raise HarnessError(f"{folder}: is not empty; give a new folder.")
    for path, content in due.items():
        files.make(path.parent)
        files.write(path, content)
        if path.suffix == ".sh":
            path.chmod(0o755)
    return list(_PLACES)


def _there(folder: Path) -> list[Path]:
    """Return the files of a folder, but for git's and what a writer that died left aside."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return [path for path in found if not any(_is_aside(part) for part in path.relative_to(folder).parts)]


def _is_aside(part: str) -> bool:
    return part == ".git" or part.endswith(files.PART)


def _filled(name: str, values: dict[str, object]) -> str:
    """Return a template with its values; whatever else has braces is a shell's or the workflow's."""
    text = (resources.files("harness.submission") / "templates" / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    return text
