"""`harness init`: a protocol to read through, and a manifest where files pair up, from a folder of data."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.verb import Verb
from harness.commands.waiting import waiting
from harness.errors import HarnessError, plain

if TYPE_CHECKING:
    from harness.cohorts.scan import Column, Scan

_FEW_PATIENTS = 200
"""With fewer, a single test set sees little: folds are proposed."""


@click.command("init", cls=Verb)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The protocol's file.  [default: DIR's name .toml]"
)
def init_command(folder: Path, out: Path | None) -> None:
    """Look at a folder of images, masks and a table; write a protocol to read through."""
    with waiting("Looking at the files ..."):
        from harness.cohorts.scan import scan
        from harness.store import files

        found = scan(folder)
        name = _name(folder)
        protocol = out or Path(f"{name}.toml")
        if protocol.exists():
            raise HarnessError(f"{protocol}: is there already and is not overwritten; give another --out.")
        manifest = folder / "manifest.csv"
        if not found.manifest:
            files.write(manifest, _manifest(found).encode())
        files.write(protocol, "\n".join(_protocol(name, found)).encode() + b"\n")
    if not found.manifest:
        click.echo(f"Wrote {manifest}: {len(found.rows)} pairs of image and mask.")
    for file in found.alone[:3]:
        click.echo(plain(f"  without a partner, left out: {file}"))
    if len(found.alone) > 3:
        click.echo(f"  and {len(found.alone) - 3} more without a partner")
    click.echo(f"Wrote {protocol}: read it through; what was guessed is marked GUESS.")
    click.echo(f"Then: harness cohort {protocol} --data {folder} --audit --open")


def _name(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return name or "mine"


def _manifest(found: Scan) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.rows)
    return text.getvalue()


def _protocol(name: str, found: Scan) -> Iterator[str]:
    """Yield the protocol's lines, with what was seen and what was guessed as comments."""
    patients = len({row["patient"] for row in found.rows})
    folder = _safe(found.folder.resolve().name)
    yield f"# Written by `harness init` from {len(found.rows)} samples of {folder}."
    yield "# Lines with GUESS say what no file says: read them first. Keys are explained in the README."
    yield f'name = "{name}"'
    yield f'title = "{name}"'
    structures = _structures(found)
    yield f'ranked_by = "{structures[0][0]}"  # GUESS: the first structure; it ranks the board'
    yield "seeds = [0, 1, 2]  # trainings of each method; with fewer than three no two methods are told apart"
    yield ""
    yield "[cohort]"
    yield 'source = "folder"'
    yield from _size(found)
    yield "# publish_images = true  # only where the owners of the data agree"
    yield ""
    yield from _split(found, patients)
    yield "[structures]"
    yield from _structure_lines(found, structures)
    yield ""
    yield from _attributes(found)
    yield "[backbone]"
    yield 'name = "unet"  # trained from nothing; "mobile-sam" with adapt = "frozen" starts from weights'
    yield 'adapt = "full"'
    yield ""
    yield "[recipe]  # GUESS: a start; the same for every method, whatever it is"
    yield "epochs = 30"
    yield "batch_size = 8"
    yield "learning_rate = 1e-3"
    yield 'augmentation = "flip"  # "none" where left and right must not be exchanged'


def _safe(text: str) -> str:
    """Return text that can stand in a comment: of one line, and seen."""
    return " ".join(plain(text).split())


def _quoted(text: str) -> str:
    """Return a basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _size(found: Scan) -> Iterator[str]:
    sides = sorted(max(size) for size in found.sizes)
    if not sides:
        yield "size = 256  # GUESS: no image's size could be read"
        return
    size = max(16, min(256, sides[len(sides) // 2] // 16 * 16))
    shapes = set(found.sizes)
    seen = (
        f"{sides[0]} to {sides[-1]} pixels on the longer side"
        if len(shapes) > 1
        else "x".join(map(str, found.sizes[0]))
    )
    yield f"size = {size}  # GUESS: side of the grid that all are brought to and scored on; images are {seen}"


def _split(found: Scan, patients: int) -> Iterator[str]:
    if any(row.get("split") for row in found.rows):
        yield "# The manifest has a column 'split', which stands."
        yield ""
        return
    yield "[split]  # by patient, evenly by every attribute"
    if patients < _FEW_PATIENTS:
        yield f"folds = 5  # {patients} patients are few: each is tested once, by one of five models a seed"
    else:
        yield "test = 0.25"
    if not found.patient:
        yield "# GUESS: each file is taken for a patient of its own, because no column names the patients."
        if found.several:
            yield f"# But {_safe(found.several)} look like files of one patient."
        yield "# If a patient has several, mend the column 'patient' of manifest.csv: else one that is"
        yield "# trained on is tested too, and every number is too good."
    elif not found.manifest:
        yield f"# Patients are from {_safe(found.patient)}."
    yield ""


def _structures(found: Scan) -> list[tuple[str, str]]:
    """Return name and label for each value but the background; named by the value, for want of more."""
    from harness.cohorts.scan import MOST_VALUES

    values = [value.text for value in found.values if value.text != "0"][:MOST_VALUES]
    return [(_structure(text), text) for text in values] or [("structure", "1")]


def _structure(text: str) -> str:
    words = text.strip('"#').lower().replace("-", "minus ")
    return "label_" + re.sub(r"[^0-9a-z]+", "_", words).strip("_")


def _structure_lines(found: Scan, structures: list[tuple[str, str]]) -> Iterator[str]:
    if not found.values:
        yield f"# No mask's values could be read ({_safe(found.unread)}): write what each value is."
        yield f"{structures[0][0]} = [{structures[0][1]}]  # GUESS"
        return
    yield f"# Values in {found.read} masks that were read. What they mean, no file says: give them names."
    zero = next((value for value in found.values if value.text == "0"), None)
    if zero is None:
        yield "# GUESS: 0, which is in none of them, would be the background; is one of these it?"
    else:
        yield f"# 0 is taken for the background: {zero.pixels:.0%} of the pixels. GUESS"
    by_text = {value.text: value for value in found.values}
    for name, text in structures:
        value = by_text[text]
        yield (
            f"{name} = [{text}]  # GUESS: a structure; in {value.masks} of {found.read} masks, "
            f"{value.pixels:.1%} of the pixels"
        )
    left = len(found.values) - (zero is not None) - len(structures)
    if left:
        yield f"# and {left} more values: a soft mask, or one saved as JPEG? Labels are few and whole."


def _attributes(found: Scan) -> Iterator[str]:
    usable = [column for column in found.columns if column.kind in ("groups", "number")]
    others = [column for column in found.columns if column not in usable]
    if not usable:
        yield "# No column can be an attribute: give manifest.csv one with two groups or more, and name it."
        yield "[attributes]"
        yield "# sex = {}"
    else:
        table = _safe(found.table)
        yield f"[attributes]  # GUESS: columns of {table} with few values; keep what is protected"
        for column in usable:
            yield from _attribute(column)
    for column in others:
        yield f"# '{_safe(column.name)}' is left out: {_safe(column.kind)}"
    yield ""


def _attribute(column: Column) -> Iterator[str]:
    key = column.name if re.fullmatch(r"[A-Za-z0-9_-]+", column.name) else _quoted(column.name)
    if column.kind == "number":
        middle = column.numbers[len(column.numbers) // 2]
        ends = f"{column.numbers[0]:g} to {column.numbers[-1]:g}"
        yield f"{key} = {{ bins = [{middle:g}] }}  # GUESS: parted at the median; {ends}"
        return
    counts = ", ".join(f"{_safe(value)} {count}" for value, count in column.values)
    yield f"{key} = {{}}  # samples: {counts}"
