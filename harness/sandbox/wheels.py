"""Fetching what a method requires as wheels, of which nothing is executed on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from harness.errors import HarnessError, plain

_MOST_METADATA = 4 << 20
_MOST_WHEELS = 500


def fetch(requires: Iterable[str], pinned: Iterable[str], target: Path) -> None:
    """Fill a folder with the wheels of some requirements, and of all that these require.

    What is `pinned` is in the image already and is not fetched. pip is never let loose on dependencies:
    for one that is an address it would run a stranger's build here, wheels only or not. So each round
    fetches the named packages alone, and reads in their wheels what the next one has to name. Raises
    HarnessError for such an address, and where pip finds no wheel.
    """
    here = {canonicalize_name(Requirement(text).name) for text in pinned}
    wanted = {text: None for text in requires if canonicalize_name(Requirement(text).name) not in here}
    while True:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        if wanted:
            _download(list(wanted), list(pinned), target)
        wheels = sorted(target.glob("*.whl"))
        if len(wheels) > _MOST_WHEELS:
            raise HarnessError(
                f"what the method requires is {len(wheels)} packages, more than {_MOST_WHEELS}."
            )
        extras = _extras(wanted)
        more = [text for wheel in wheels for text in depends(wheel, extras) if text not in wanted]
        more = [text for text in more if canonicalize_name(Requirement(text).name) not in here]
        if not more:
            return
        wanted |= dict.fromkeys(more)


def depends(wheel: Path, extras: dict[str, set[str]]) -> Iterator[str]:
    """Yield what a wheel requires here: names and versions. Raises HarnessError for an address.

    extras: package to those of its extras that are wanted.
    """
    name, *_ = parse_wheel_filename(wheel.name)
    for text in _metadata(wheel):
        try:
            required = Requirement(text)
            marker = required.marker
            asked = ("", *sorted(extras.get(name, ())))
            applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in asked)
        except (InvalidRequirement, ValueError, KeyError):
            raise HarnessError(
                f"{wheel.name}: requires {plain(text[:80])!r}, which cannot be read."
            ) from None
        if not applies:
            continue
        if required.url or any(one.operator == "===" for one in required.specifier):
            raise HarnessError(
                f"{wheel.name}: requires {plain(text[:80])!r}: an address and no name; what a method "
                "requires comes as wheels by name. Give it in a folder with --wheels."
            )
        chosen = f"[{','.join(sorted(required.extras))}]" if required.extras else ""
        yield f"{required.name}{chosen}{required.specifier}"


def _extras(wanted: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for required in map(Requirement, wanted):
        found.setdefault(canonicalize_name(required.name), set()).update(required.extras)
    return found


def _metadata(wheel: Path) -> list[str]:
    """Return the requirements that a wheel states, read as data."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
            with archive.open(member) as file:
                raw, _ = parse_email(file.read(_MOST_METADATA))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise HarnessError(f"{wheel.name}: no wheel that can be read ({plain(str(error)[:100])}).") from None
    return list(raw.get("requires_dist", []))


def _download(wanted: list[str], pinned: list[str], target: Path) -> None:
    lists = {"requirements": wanted, "constraints": pinned}
    for name, lines in lists.items():
        target.with_name(f"fetch-{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = [f"--{name[:-1]}={target.with_name(f'fetch-{name}.txt')}" for name in lists]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--progress-bar", "off", "--no-deps", *options,
         "--only-binary", ":all:", "--dest", str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise HarnessError(f"pip cannot fetch the wheels ({said(done.stdout + done.stderr)}); give a folder "
                           "of them with --wheels.")  # fmt: skip


def said(log: str) -> str:
    """Return what pip complains of, and what it says conflicts, from all that it printed."""
    lines = [plain(re.sub(r"\x1b\[[0-9;]*m", "", line)).strip() for line in log.splitlines()]
    errors = [line.removeprefix("ERROR:").strip(" .") for line in lines if line.startswith("ERROR:")]
    conflicts = [line for line in lines if line.startswith("The user requested")]
    return "; ".join([*errors[:1], *conflicts] or [line for line in lines if line][-3:])
