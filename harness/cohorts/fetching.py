"""Public data sets that a command fetches: where each is, its licence, and how it becomes a cohort."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.cohorts import papila
from harness.cohorts.source import Progress, silent
from harness.errors import HarnessError, did_you_mean
from harness.store import files

_TIMEOUT = 30
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Dataset:
    """A public data set: one archive, and what makes a manifest with images and masks of it.

    sha256: of the archive; stated: where that is stated; licence, citation, home: what a user is shown before
    anything is fetched; lay_out: writes `manifest.csv` and the masks into a folder, given the open archive.
    """

    title: str
    address: str
    sha256: str
    stated: str
    licence: str
    citation: str
    home: str
    lay_out: Callable[[zipfile.ZipFile, Path, Progress], None]


DATASETS = {
    "papila": Dataset(
        title="PAPILA: fundus images of both eyes of 244 patients, with discs, cups, age and sex",
        address="https://figshare.com/ndownloader/files/35013982",
        sha256="15b053dff496bc8e53eb8a8d0707ef73ba3d56c988eea92b65832c9c82852a7d",
        stated="torch-em, torch_em/data/datasets/medical/papila.py",
        licence="GNU GPL 3.0, as others cite the figshare record; read the record's own page before you use "
        "the data",
        citation="Kovalyk et al., PAPILA: Dataset with fundus images and clinical data of both eyes of the "
        "same patient for glaucoma assessment, Scientific Data 9, 291 (2022)",
        home="https://figshare.com/articles/dataset/PAPILA/14798004",
        lay_out=papila.lay_out,
    ),
}
"""Name to data set. None of them is shipped."""


def find(name: str) -> Dataset:
    """Return a data set by name. Raises HarnessError for an unknown one."""
    if name not in DATASETS:
        raise HarnessError(f"There is no data set '{name}'.{did_you_mean(name, DATASETS)}")
    return DATASETS[name]


def fetch(name: str, folder: Path, source: str | None = None, progress: Progress = silent) -> Path:
    """Return the folder of a data set, fetched, checked and laid out there if it is not yet.

    `source` is an archive or an address to take instead of the official one; the SHA-256 is the same. What
    was fetched of the archive is kept where the way there breaks, and the next call goes on from it. The
    folder appears whole. Raises HarnessError, one sentence, for what went wrong.
    """
    chosen, part = find(name), folder.parent / f"{folder.name}.zip{files.PART}"
    if (folder / papila.MANIFEST).is_file():
        files.remove(part)  # the power may have been cut after the one and before the other
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnessError(f"{folder}: holds something else; give a folder that is not there yet with --to.")
    archive = _archive(chosen, name, part, source, progress)
    try:
        with zipfile.ZipFile(archive) as packed, files.writing(folder) as aside:
            chosen.lay_out(packed, aside, progress)
    except (zipfile.BadZipFile, OSError) as error:
        raise HarnessError(f"{archive}: cannot be unpacked into {folder} ({error}).") from None
    files.remove(part)
    return folder


def _archive(chosen: Dataset, name: str, part: Path, source: str | None, progress: Progress) -> Path:
    """Return the checked archive: a file of the user's, or `part`, downloaded beside the folder."""
    source = source or chosen.address
    if not source.startswith(("http://", "https://")):
        given = Path(source)
        if not given.is_file():
            raise HarnessError(
                f"{source}: there is no such file; give the archive of '{name}', or an address."
            )
        _check(given, chosen, name)
        return given
    files.make(part.parent)
    resumed = part.is_file()
    _download(source, part, name, progress)
    try:
        _check(part, chosen, name)
    except HarnessError:
        files.remove(part)
        # A power cut may leave a file its length and not its bytes: what was gone on from was no part of it.
        if not resumed or part.exists():
            raise
        return _archive(chosen, name, part, source, progress)
    return part


def _download(address: str, part: Path, name: str, progress: Progress) -> None:
    """Fetch what is missing of a file, at the end of what is there."""
    there = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
            there = there if resumed else 0
            length = answer.headers.get("Content-Length")
            total = there + int(length) if length is not None else 0
            with part.open("ab" if resumed else "wb") as file:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    there += len(block)
                    progress("Megabytes fetched", there >> 20, max(total, there) >> 20)
    except urllib.error.HTTPError as error:
        # All of it is there already; whether it is the right file, its SHA-256 tells.
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        raise HarnessError(
            f"{address}: answered {error.code} ({error.reason}); fetch the archive of '{name}' by hand and "
            "give it with --from."
        ) from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        why = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise HarnessError(
            f"{address}: {there >> 20} MB are here and the rest did not come ({why}); run the command again "
            "and it goes on from there."
        ) from None
    except OSError as error:
        raise HarnessError(
            f"{part}: {error.strerror or error}; make room and run the command again."
        ) from None
    if total and there < total:
        raise HarnessError(
            f"{address}: ended after {there:,} of {total:,} bytes; run the command again and it goes on from "
            "there."
        )


def _check(archive: Path, chosen: Dataset, name: str) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != chosen.sha256:
        raise HarnessError(
            f"{archive}: not the archive of '{name}' that is known here: its SHA-256 is {found}, and "
            f"{chosen.sha256} is stated in {chosen.stated}."
        )
