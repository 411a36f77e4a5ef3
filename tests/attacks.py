"""Attacks on the doors of the harness: each is tried, and says what it got.

An attack returns what it got, one line; one that was let through raises AssertionError.
"""

from __future__ import annotations

import io
import json
import os
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from forge import rewritten, with_records

from harness.cohorts import folder as folder_source
from harness.errors import HarnessError
from harness.plugin import discovery, requires
from harness.plugin.discovery import Plugin
from harness.sandbox.limits import seconds_from
from harness.store import SCORES
from harness.submission import archive, contents
from harness.submission.verify import verify
from leaderboard.write.exports import no_formula

Attack = Callable[[Any, Path], str]

ATTACKS: dict[str, Attack] = {}


def attack(function: Attack) -> Attack:
    """Register an attack under its name."""
    ATTACKS[function.__name__.replace("_", " ")] = function
    return function


def table(rows: list[tuple[str, str, str]]) -> str:
    """Return attacks, what each got and the verdict as lines of one width."""
    wide = max(len(name) for name, _, _ in rows)
    return "\n".join(f"{name:{wide}}  {verdict:8}  {got[:120]}" for name, got, verdict in rows)


def refused(what: Callable[[], object]) -> str:
    """Return the one sentence in which something is refused. Raises AssertionError where it is not."""
    try:
        got = what()
    except (HarnessError, SyntaxError, OSError) as error:
        said = str(error)
    else:
        raise AssertionError(f"let through: {str(got)[:200]}")
    assert "\n" not in said
    return said


def failed(world: Any, submission: archive.Submission) -> str:
    """Return why a submission is not verified. Raises AssertionError where it is."""
    report = verify(submission, world.yardstick)
    assert report.failed, "verified"
    return f"{report.failed[0].what}: {report.failed[0].why}"


def changed(world: Any, *path: str, value: Any) -> str:
    """Return why a submission is refused whose records hold a value at a place."""

    def change(record: dict[str, Any]) -> None:
        *way, last = path
        for part in way:
            record = record[part]
        record[last] = value

    return failed(world, with_records(world.submission, change))


@attack
def a_package_by_address(world: Any, folder: Path) -> str:
    return refused(lambda: requires.named("pkg @ https://example.org/pkg.tar.gz"))


@attack
def an_option_of_pip(world: Any, folder: Path) -> str:
    return refused(lambda: requires.named("--index-url=https://example.org"))


@attack
def a_command_in_a_version(world: Any, folder: Path) -> str:
    return refused(lambda: requires.named("pkg===$(touch${IFS}/tmp/owned)"))


@attack
def seconds_that_are_no_number(world: Any, folder: Path) -> str:
    return changed(world, "cost", "fit_seconds", value=float("nan"))


@attack
def a_number_of_4000_digits(world: Any, folder: Path) -> str:
    return changed(world, "cost", "peak_memory_bytes", value=10**4000)


@attack
def half_a_character_in_a_title(world: Any, folder: Path) -> str:
    return changed(world, "method", "title", value="Mine \ud800")


@attack
def a_seed_that_is_false(world: Any, folder: Path) -> str:
    return changed(world, "seed", value=False)


@attack
def no_number_in_the_tries_of_a_tuning(world: Any, folder: Path) -> str:
    one = {"hyper_parameters": {}, "score": 0.5, "by_attribute": {"race": float("nan")}}
    tuned = {"budget": 1, "seeds": [0], "patients": 3, "source_digest": "", "tries": [one], "chosen": 0}
    stated = json.loads(archive.manifest_bytes(world.submission.manifest)) | {"tuned": {"my-method": tuned}}
    return refused(
        lambda: archive.parsed_json(json.dumps(stated).encode(), archive.Manifest, "manifest.json")
    )


@attack
def a_file_called_erm(world: Any, folder: Path) -> str:
    (folder / "erm.py").write_text(discovery.find("adv").file.read_text())
    return refused(lambda: discovery.find(str(folder / "erm.py")))


@attack
def a_title_in_look_alikes(world: Any, folder: Path) -> str:
    return changed(world, "method", "title", value="Grоup DRО")


@attack
def an_empty_title(world: Any, folder: Path) -> str:
    return changed(world, "method", "title", value="")


@attack
def a_title_of_100000_characters(world: Any, folder: Path) -> str:
    return changed(world, "method", "title", value="x" * 100_000)


@attack
def a_control_of_a_rival(world: Any, folder: Path) -> str:
    first, *rest = world.submission.manifest.plan
    rows = (first.model_copy(update={"control_of": "erm"}), *rest)
    return failed(world, rewritten(world.submission, world.submission.members, plan=rows))


@attack
def a_table_that_unpacks_to_gigabytes(world: Any, folder: Path) -> str:
    rows = 10_000
    name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 600_000]))
    columns = {one: pa.array(np.full(rows, 0.5)) for one in SCORES}
    columns |= {"sample": name, "structure": pa.array(["cup"] * rows), "missed": pa.array([False] * rows)}
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written, compression="zstd")
    samples = [f"s{i}" for i in range(rows)]
    tracemalloc.start()
    said = refused(lambda: contents.parse_scores(written.getvalue(), samples, ("cup",)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 28
    return f"{len(written.getvalue()) / 1e3:.0f} kB that hold {rows * 600_000 / 1e9:.0f} GB: {said}"


@attack
def a_zip_of_a_million_entries(world: Any, folder: Path) -> str:
    one = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", *(20, 3, 20, 0, 0, 0, 0, 33, *[0] * 10)) + b"x"
    with (folder / "bomb.zip").open("wb") as file:
        for _ in range(10):
            file.write(one * 100_000)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(one) * 1_000_000, 0, 0))
    began = time.process_time()
    said = refused(lambda: archive.read(folder / "bomb.zip"))
    assert time.process_time() - began < 1
    return said.replace(str(folder), "...")


@attack
def an_array_that_unpacks_to_gigabytes(world: Any, folder: Path) -> str:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("samples.npy", b"")
        with made.open("labels.npy", "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(bytes(16 << 20))
    return refused(lambda: contents.parse_predictions(written.getvalue(), ("a",), 16, 3))


@attack
def json_of_100000_levels(world: Any, folder: Path) -> str:
    return refused(lambda: archive.load_json(b"[" * 100_000 + b"]" * 100_000, "record.json"))


def _broken(folder: Path, text: bytes) -> str:
    (folder / "ill.py").write_bytes(text)
    abouts, broken = discovery.describe_all([Plugin("ill", folder / "ill.py"), discovery.find("erm")])
    assert list(abouts) == ["erm"]
    assert "\n" not in broken[0].error
    return broken[0].error.replace(str(folder), "...")


@attack
def forty_dots_in_an_import(world: Any, folder: Path) -> str:
    return _broken(folder, b"from " + b"." * 40 + b" import x\n")


@attack
def nesting_that_no_parser_survives(world: Any, folder: Path) -> str:
    return _broken(folder, b"x = " + b"-" * 50_000 + b"1\n")


@attack
def a_literal_without_end(world: Any, folder: Path) -> str:
    return _broken(folder, b"x = 0x" + b"f" * 100_000 + b"\n")


@attack
def tokens_that_are_none(world: Any, folder: Path) -> str:
    return _broken(folder, b"x = $ ? '''\n")


@attack
def a_formula_in_a_cell(world: Any, folder: Path) -> str:
    got = no_formula("=cmd|' /C calc'!A0")
    assert got.startswith("'=")
    return f"the cell {got!r}"


@attack
def a_link_in_a_log(world: Any, folder: Path) -> str:
    got = contents.parse_log(b"\x1b]8;;https://example.org\x1b\\here\x1b]8;;\x1b\\")
    assert got.isprintable()
    return f"the line {got!r}"


@attack
def an_escape_in_a_name(world: Any, folder: Path) -> str:
    return changed(world, "method", "authors", value="A\x1b[2JB")


@attack
def a_pipe_as_an_image(world: Any, folder: Path) -> str:
    os.mkfifo(folder / "image.png")
    (folder / "mask.png").write_bytes(b"x")
    (folder / "manifest.csv").write_text("id,patient,image,mask\na,p,image.png,mask.png\n")
    options = folder_source.Options(folder=folder)
    return refused(lambda: folder_source.open_source(options, 64, None)).replace(str(folder), "...")


@attack
def an_image_outside_of_the_folder(world: Any, folder: Path) -> str:
    (folder / "manifest.csv").write_text("id,patient,image,mask\na,p,../../../../etc/passwd,x.png\n")
    options = folder_source.Options(folder=folder)
    return refused(lambda: folder_source.open_source(options, 64, None)).replace(str(folder), "...")


@attack
def a_training_without_end(world: Any, folder: Path) -> str:
    return f"{seconds_from([120.0]):.0f} s where the baseline takes 120 s"
