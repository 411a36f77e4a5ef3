"""Builds the site into a folder that a static host serves, and keeps what it was before for good."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import HarnessError
from harness.store import files, published
from harness.store.published import History, Version
from leaderboard import moved, site
from leaderboard.compute import words
from leaderboard.read.boards import readable
from leaderboard.write import exports, versions
from leaderboard.write.exports import Export

MOST_TOLD = 40
"""Lines of what changed that the feed tells of a version; its own page has all."""

_NO_JEKYLL = ".nojekyll"
"""Tells GitHub Pages to serve the files as they are."""


@dataclass(frozen=True)
class Published:
    """What became of it: the newest version, whether it is new, and all that changed since the one before."""

    version: Version
    new: bool
    changes: str


def publish(
    runs: Path,
    out: Path,
    images: bool = True,
    address: str = "",
    archive: str = "",
    cache: Path | None = None,
) -> Published:
    """Build the site of the records under `runs` into `out`; what moved makes a new version of it.

    A version stays below `v/NUMBER/`: a number is said and remembered, comes in order, and a link to it can
    be written before it is there; of what it is the number, its SHA-256 tells (versions.json). It keeps
    tables, what changed and leaderboard.json, and no picture, so that a hundred of them are megabytes. A
    leaderboard.json that is the newest version's makes no new one. What else lies in the folder stays.

    address: where the folder is served, remembered for the next time; archive: DOI or address of the records
    of the newest version. The folder is replaced whole or not at all. Raises HarnessError where there is
    nothing to publish, or where `out` is not for it.
    """
    out = Path(out).resolve()
    address = published.checked_address(address) if address else ""
    archive = published.checked_archive(archive) if archive else ""
    published.check_place(out, Path(runs))
    with files.writing(out) as aside:
        # Not before: a folder that somebody who died held back while it was replaced is put back by now.
        before = published.read(out)
        site.fill(Path(runs), aside, images, with_versions=True, cache=cache)
        own = {path.name for path in aside.iterdir()} | versions.NAMES | {_NO_JEKYLL}
        changes = _changes(out, aside, before)
        history = _history(aside, before, changes, address, archive)
        _keep(out, aside, before, own)
        _write(aside, history.model_copy(update={"wrote": tuple(sorted(own))}), before, changes)
        if published.read(out) != before:
            raise HarnessError(f"{out}: somebody else published just now; publish again.")
    return Published(history.newest, before is None or history.newest.number > before.newest.number, changes)


def _changes(out: Path, aside: Path, before: History | None) -> str:
    """Return what moved since the newest version, "" where it is the same board."""
    if before is None:
        return f"{versions.FIRST}{_counted(moved.read(aside))}."
    newest = before.newest
    if _digest(exports.content(aside)) == newest.digest:
        return ""
    old = versions.kept(out, newest)
    if not old.is_file() or _digest(moved.content(old)) != newest.digest:
        raise HarnessError(f"{old}: gone, or not what was published; bring it back (git checkout).")
    try:
        found = moved.diff(old, aside)
    except moved.OtherSchema:
        return f"The results are written in another way than in version {newest.number}: not compared."
    unmoved = "No score, rank or status moved; words or later digits did."
    return found if found != moved.NOTHING else unmoved


def _counted(export: Export) -> str:
    boards = len(export.protocols)
    methods = {one.method for board in export.protocols for part in board.sections for one in part.methods}
    return f"{boards} board{'s' * (boards > 1)}, {len(methods)} method{'s' * (len(methods) > 1)}"


def _history(aside: Path, before: History | None, changes: str, address: str, archive: str) -> History:
    """Return the versions with the one that is new, if one is."""
    found = list(before.versions) if before is not None else []
    if changes:
        lines = [readable(line) for line in changes.splitlines()]
        left = len(lines) - MOST_TOLD
        told = [*lines[:MOST_TOLD], *([f"and {words.counted(left, 'line')} more"] if left > 0 else [])]
        digest = _digest(exports.content(aside))
        when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found.append(Version(number=len(found) + 1, digest=digest, when=when, changed=tuple(told)))
    if archive:
        found[-1] = found[-1].model_copy(update={"archive": archive})
    return History(
        id=before.id if before is not None else uuid.uuid4(),
        address=address or (before.address if before is not None else ""),
        versions=tuple(found),
    )


def _keep(out: Path, aside: Path, before: History | None, own: set[str]) -> None:
    """Copy what is not of this building: earlier versions, and what somebody else has put there."""
    if before is not None:
        shutil.copytree(out / published.VERSIONS, aside / published.VERSIONS, symlinks=True)
    for path in published.beside(out, before):
        target = aside / path.name
        if path.name == _NO_JEKYLL:
            continue
        if path.name in own:
            raise HarnessError(f"{path}: is not the site's, and its name is; give it another.")
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target, symlinks=True)
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def _write(aside: Path, history: History, before: History | None, changes: str) -> None:
    """Write the new version, what is of all versions, and what the folder is to remember."""
    export = moved.read(aside)
    if changes:
        versions.write(aside, history.newest, export, [readable(line) for line in changes.splitlines()])
    elif before is not None and history.newest != before.newest:
        versions.write_cover(aside, history.newest, export)
    versions.write_around(aside, history, export)
    (aside / _NO_JEKYLL).write_bytes(b"")
    (aside / published.FILE).write_text(published.text(history), encoding="utf-8")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
