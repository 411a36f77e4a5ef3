"""A published folder: which versions of a board it holds, what it is served as, and what may become one."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError
from harness.store import files

FILE = "versions.json"
VERSIONS = "v"
"""Folder of the versions, each below its number."""

_DOI = re.compile(r"(?:doi:\s*|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/[^\s\"'<>]+)", re.IGNORECASE)
_NO_ADDRESS = re.compile(r"[\s\"'<>\\]")

_HOSTS = frozenset(
    {
        ".gitattributes",
        ".gitignore",
        ".gitkeep",
        ".nojekyll",
        ".well-known",
        "CNAME",
        "README.md",
        "robots.txt",
    }
)
"""What may lie in a folder before its first version: what hosts and git read."""


class Version(BaseModel):
    """A board as it was published. digest: SHA-256 of its leaderboard.json; when: UTC, 2026-11-28T09:30:00Z.

    archive: address at which its records are kept, "" where nobody said; changed: what moved since the
    version before, the line that counts first.
    """

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    when: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    archive: str = ""
    changed: tuple[str, ...] = Field(min_length=1)

    @property
    def folder(self) -> str:
        """Its address for good, from the root of the site."""
        return f"{VERSIONS}/{self.number}"

    @property
    def day(self) -> str:
        """The day on which it was published."""
        return self.when[:10]


class History(BaseModel):
    """The versions of a published folder, oldest first.

    id: of the feed, for good; address: at which the folder is served, "" where nobody said; wrote: which
    names in the folder are the site's, so that whatever else lies there stays.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = Field(1, ge=1, le=1)
    id: uuid.UUID
    address: str = ""
    wrote: tuple[str, ...] = ()
    versions: tuple[Version, ...] = Field(min_length=1)

    @property
    def newest(self) -> Version:
        """The version that was published last."""
        return self.versions[-1]

    def id_of(self, version: Version) -> uuid.UUID:
        """Return the id of a version in the feed."""
        return uuid.uuid5(self.id, str(version.number))


def read(folder: Path) -> History | None:
    """Return what a folder holds, None where nothing was published. Raises HarnessError for a damaged one."""
    path = folder / FILE
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = History.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise HarnessError(
            f"{path}: {where}: {first['msg']}; bring back what harness publish wrote."
        ) from None
    if [one.number for one in found.versions] != list(range(1, len(found.versions) + 1)):
        raise HarnessError(f"{path}: versions are not 1, 2, 3, ...; bring back what harness publish wrote.")
    return found


def text(history: History) -> str:
    """Return what versions.json holds."""
    return history.model_dump_json(indent=2) + "\n"


def beside(folder: Path, history: History | None) -> list[Path]:
    """Return what lies in a folder and is not the site's: it stays whatever is published."""
    own = {FILE, VERSIONS, *history.wrote} if history is not None else set()
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in there if path.name not in own and not path.name.endswith(files.PART)]


def check_place(folder: Path, runs: Path) -> None:
    """Raise HarnessError for a folder that is not to be replaced by a published site."""
    folder, runs = folder.resolve(), runs.resolve()
    if (folder / ".git").exists():
        raise HarnessError(
            f"{folder}: the top of a checkout, which is more than a site; give {folder / 'public'}."
        )
    if folder.is_relative_to(runs) or runs.is_relative_to(folder):
        raise HarnessError(f"{folder}: records lie in it, or it in them ({runs}); give a folder beside them.")
    history = read(folder)
    others = [path.name for path in beside(folder, history) if path.name not in _HOSTS]
    if history is None and others:
        raise HarnessError(f"{folder}: holds {others[0]} and no version yet; begin in a new or empty folder.")


def checked_address(address: str) -> str:
    """Return an address at which a folder is served, with its last slash. Raises HarnessError."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
    if not plain or "@" in parts.netloc or _NO_ADDRESS.search(address):
        raise HarnessError(
            f"--address {address}: give where the folder is served, as https://example.org/board/."
        )
    return address.rstrip("/") + "/"


def checked_archive(archive: str) -> str:
    """Return the address of an archive, given it or a DOI. Raises HarnessError."""
    if doi := _DOI.fullmatch(archive.strip()):
        return f"https://doi.org/{doi[1]}"
    try:
        parts = urlsplit(archive)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or _NO_ADDRESS.search(archive):
        raise HarnessError(f"--archive {archive}: give a DOI, as 10.5281/zenodo.1234567, or an address.")
    return archive
