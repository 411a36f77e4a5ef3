"""Find the files of predictions and truths, and pair them by name: none is dropped in silence."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import HarnessError
from harness.predictions.ids import as_id, listed

MAPS = (".nii.gz", ".nii", ".png", ".tif", ".tiff", ".npz", ".npy", ".bmp", ".gif", ".jpg", ".jpeg")
"""How names of label maps end."""
_OTHER_IMAGES = (
    ".mha",
    ".mhd",
    ".nrrd",
    ".dcm",
    ".mgz",
    ".img",
    ".hdr",
    ".h5",
    ".hdf5",
    ".mat",
    ".pt",
    ".zip",
)
_TAIL = re.compile(r"[_\-. ][A-Za-z]+$")
_HOLES = re.compile(r"\{(id|patient|structure)\}")


@dataclass(frozen=True)
class Case:
    """The files of one case: `maps` has one under "", or one a structure; `soft` its probabilities."""

    id: str
    maps: dict[str, Path] = field(default_factory=dict)
    soft: Path | None = None
    patient: str = ""


@dataclass(frozen=True)
class Found:
    """The cases of a folder by id, the files that are none, and what was understood of their names."""

    place: str
    cases: dict[str, Case]
    strays: tuple[str, ...]
    tail: str = ""
    """What all names end in, which was taken for no part of the id."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was understood of the names."""
        said = f"All {len(self.cases)} names end in '{self.tail}', which was taken for no part of the id."
        return (said,) if self.tail else ()

    def whole(self) -> Found:
        """Return the same with the ending as a part of each id."""
        ids = {name: f"{name}{self.tail}" for name in self.cases}
        cases = {ids[name]: replace(case, id=ids[name]) for name, case in self.cases.items()}
        return replace(self, cases=cases, tail="")


def find(place: str, rule: str | None, structures: Sequence[str] = ()) -> Found:
    """Return the cases of a folder, of a pattern with `*`, or of one file.

    rule: how names are made, such as '{id}_seg.nii.gz', '{id}/{id}_trans.nii.gz' or '{id}_{structure}.png';
    without one, a file's name is its id, but for an ending that all names share ('_pred'). Raises
    HarnessError where nothing is there, where two files are of one case, for what is no file that can be
    read to its end.
    """
    root, files = _files(place)
    maps = [file for file in files if suffix_of(file)]
    others = [file for file in files if file.name.lower().endswith(_OTHER_IMAGES)]
    if not maps:
        kinds = f"; {listed(f.name for f in others)} would have to be converted" if others else ""
        raise HarnessError(f"{place}: no label maps (.nii.gz, .png, .tif, .npz, .npy) are here{kinds}.")
    for file in maps:
        check_regular(file)
    named, strays, tail = _named(maps, root, rule, structures)
    strays += [str(file) for file in others]
    return Found(place, _cases(_told_apart(named), place), tuple(sorted(strays)), tail)


def suffix_of(file: Path) -> str:
    """Return how the name of a label map ends, "" for another file."""
    name = file.name.lower()
    return next((suffix for suffix in MAPS if name.endswith(suffix)), "")


def stem_of(file: Path) -> str:
    """Return a file's name without its suffix, of two parts where it is ".nii.gz"."""
    return file.name[: len(file.name) - len(suffix_of(file))]


def check_regular(file: Path) -> None:
    """Raise HarnessError for a pipe, a device, a link that leads nowhere or to itself."""
    from harness.cohorts.source import regular

    try:
        regular(file)
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}; give a regular file.") from None


def _files(place: str) -> tuple[Path, list[Path]]:
    """Return where names begin, and all files below it, hidden ones left out."""
    path = Path(place)
    if path.is_dir():
        return path, sorted(_below(path))
    if glob.has_magic(place) and not os.path.lexists(place):
        found = sorted(Path(one) for one in glob.glob(place, recursive=True) if not os.path.isdir(one))
        if not found:
            raise HarnessError(
                f"{place}: no file has such a name; give a folder or a pattern that some have."
            )
        return Path(os.path.commonpath([one.parent for one in found])), found
    if not os.path.lexists(path):
        raise HarnessError(f"{place}: there is no such file or folder.")
    check_regular(path)
    return path.parent, [path]


def _below(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            raise HarnessError(f"{here}: a link to a folder that is read already; take it out.")
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (Path(here, name) for name in names if not name.startswith("."))


_Named = tuple[str, str, str, Path]
"""Id, patient and structure by a file's name, and the file."""


def _named(
    files: list[Path], root: Path, rule: str | None, structures: Sequence[str]
) -> tuple[list[_Named], list[str], str]:
    if rule is None:
        return _by_stem(files)
    pattern, named, strays = _pattern(rule, structures), [], []
    for file in files:
        name = file.relative_to(root).as_posix() if "/" in rule else file.name
        fits = pattern.fullmatch(name)
        if fits is None:
            strays.append(str(file))
            continue
        parts = fits.groupdict()
        named.append(
            (as_id(parts["id"], str(file)), parts.get("patient") or "", parts.get("structure") or "", file)
        )
    if not named:
        raise HarnessError(f"{root}: no name is like '{rule}' ('{files[0].name}' is one); mend the rule.")
    return named, strays, ""


def _pattern(rule: str, structures: Sequence[str]) -> re.Pattern[str]:
    parts, at, seen = [], 0, set()
    for hole in _HOLES.finditer(rule):
        parts.append(re.escape(rule[at : hole.start()]))
        name = hole[1]
        inside = "|".join(map(re.escape, structures)) if name == "structure" and structures else "[^/]+?"
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{inside})")
        seen.add(name)
        at = hole.end()
    if "id" not in seen:
        raise HarnessError(f"--pair {rule}: has no {{id}}; write where the id stands, as in '{{id}}.nii.gz'.")
    return re.compile("".join(parts) + re.escape(rule[at:]))


def _by_stem(files: list[Path]) -> tuple[list[_Named], list[str], str]:
    stems = [stem_of(file) for file in files]
    tail = ""
    # Never digits: the last of 'case_10' and 'case_20' is a part of the name.
    while len(stems) > 1 and (found := _TAIL.search(stems[0])):
        if not all(one.endswith(found[0]) and len(one) > len(found[0]) for one in stems):
            break
        tail = found[0] + tail
        stems = [one[: -len(found[0])] for one in stems]
    return [(as_id(s, str(f)), "", "", f) for s, f in zip(stems, files, strict=True)], [], tail


def _told_apart(named: list[_Named]) -> list[_Named]:
    """Return ids with the patient before them where those of two patients are one: 'p1_L' and 'p2_L'."""
    patients: dict[str, set[str]] = defaultdict(set)
    for name, patient, _, _ in named:
        patients[name].add(patient)
    if all(len(own) == 1 for own in patients.values()):
        return named
    return [(f"{patient}_{name}", patient, structure, file) for name, patient, structure, file in named]


def _cases(named: list[_Named], place: str) -> dict[str, Case]:
    by_id: dict[str, list[_Named]] = defaultdict(list)
    for one in named:
        by_id[one[0]].append(one)
    return {name: _case(name, own, place) for name, own in by_id.items()}


def _case(name: str, own: list[_Named], place: str) -> Case:
    maps: dict[str, Path] = {}
    hard = [one for one in own if suffix_of(one[3]) != ".npz"]
    # nnU-Net writes case.npz, its probabilities, beside case.nii.gz.
    soft = [one[3] for one in own if hard and suffix_of(one[3]) == ".npz"]
    for _, _, structure, file in hard or own:
        if structure in maps:
            raise HarnessError(
                f"{place}: {listed([maps[structure].name, file.name])} are both of the case '{name}'; keep "
                "one, or say with --pair how names are made."
            )
        maps[structure] = file
    if len(soft) > 1:
        raise HarnessError(f"{place}: the case '{name}' has two files of probabilities; keep one.")
    return Case(name, maps, soft[0] if soft else None, own[0][1])
