"""At the door: every number finite and in range, every text valid and bounded; bombs cost next to nothing."""

from __future__ import annotations

import io
import json
import resource
import struct
import time
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forge import parquet, with_records

from harness.errors import HarnessError
from harness.submission import archive, contents
from harness.submission.ceiling import ceiling
from harness.submission.verify import verify

SAMPLES = ("a", "b")


def scores(**changes) -> bytes:
    columns = {"sample": list(SAMPLES), "structure": "cup", "missed": False, "vcdr_error": np.nan}
    return parquet(pd.DataFrame(dict.fromkeys(contents.SCORES, 0.5) | columns | changes))


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def refused(submission, measured) -> str:
    (found,) = verify(submission, measured).failed
    assert "\n" not in found.why
    return found.why


EVIL = {
    "not a number": float("nan"),
    "endless": float("inf"),
    "huge": 10**4000,
    "negative": -1,
    "a truth": True,
    "a text": "5",
    "nothing": None,
}
FIELDS = (
    ("cost", "fit_seconds"),
    ("cost", "peak_memory_bytes"),
    ("cost", "trained_parameters"),
    ("seed",),
    ("schema_version",),
)


@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize("field", FIELDS, ids=".".join)
def test_a_number_that_none_can_be_is_refused_by_its_field(world, field, kind):
    def change(record):
        *path, last = field
        for part in path:
            record = record[part]
        record[last] = EVIL[kind]

    why = refused(with_records(world.submission, change), world.yardstick)
    assert field[-1] in why or "not a JSON object" in why


@pytest.mark.parametrize("place", ["environment", "provenance", "scoring", "method.hyper_parameters"])
@pytest.mark.parametrize("value", [float("nan"), 10**30, -float("inf"), "\ud800", "a\0b", "\x1b[2J"])
def test_whatever_is_nested_is_looked_at_too(world, place, value):
    def change(record):
        for part in place.split("."):
            record = record[part]
        record["deep"] = [{"deeper": [value]}]

    assert refused(with_records(world.submission, change), world.yardstick)


@pytest.mark.parametrize(
    "text",
    ["\ud800", "\x1b]8;;https://evil.example\x1b\\here", "\u202eevil", "a\0", "x" * 100_000, "\x9b31m"],
)
@pytest.mark.parametrize("field", ["title", "authors", "paper", "url", "licence", "source_digest"])
def test_a_text_that_no_page_can_show_is_refused(world, field, text):
    def change(record):
        record["method"][field] = text

    assert refused(with_records(world.submission, change), world.yardstick)


def test_the_scores_of_a_tuning_are_scores(world):
    one = {"hyper_parameters": {}, "score": 0.5, "by_attribute": {"race": float("nan")}}
    tuned = {"budget": 1, "seeds": [0], "patients": 3, "source_digest": "", "tries": [one], "chosen": 0}
    table = json.loads(archive.manifest_bytes(world.submission.manifest))
    for change in (
        {"tries": [one]},
        {"chosen": False, "tries": [one | {"by_attribute": {}}]},
        {"seeds": [True]},
    ):
        stated = table | {"tuned": {"my-method": tuned | {"tries": [one | {"by_attribute": {}}]} | change}}
        with pytest.raises(HarnessError, match=r"manifest.json: tuned\.my-method\."):
            archive.parsed_json(json.dumps(stated).encode(), archive.Manifest, "manifest.json")


@pytest.mark.parametrize("seed", [True, 1.0, "0", -1, 2**64])
def test_a_seed_of_the_plan_is_a_seed(world, seed):
    table = json.loads(archive.manifest_bytes(world.submission.manifest))
    table["plan"][0]["seed"] = seed
    with pytest.raises(HarnessError, match=r"plan\.0\.seed"):
        archive.parsed_json(json.dumps(table).encode(), archive.Manifest, "manifest.json")


@pytest.mark.parametrize(
    "row",
    [
        "9" * 4000 + ",loss,,,1",
        "-1,loss,,,1",
        "0,accuracy,,,1",
        "0,loss,,\x1b[2J,1",
        f"0,loss,,{'g' * 300},1",
    ],
)
def test_a_row_that_no_training_has_is_refused(row):
    with pytest.raises(HarnessError, match=r"^curve.csv: "):
        contents.parse_curve(f"epoch,quantity,attribute,group,value\n{row}\n".encode())


def test_a_distance_beyond_any_image_is_refused_as_means_of_such_are_endless():
    with pytest.raises(HarnessError, match="hd95 of b cup is 1e"):
        contents.parse_scores(scores(hd95=[1.0, 1e300]), SAMPLES, ("cup",))


def test_a_log_says_nothing_to_a_terminal():
    assert contents.parse_log(b"a\x1b]8;;http://x\x07b\r\nc\td\xff") == "a?]8;;http://x?b\n\nc\td\ufffd"


def directory_of(entries: int) -> bytes:
    """A file that is the directory of a zip alone: as many entries as said, none of them with content."""
    one = (
        struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
        + b"x"
    )
    return one * entries + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, entries * len(one), 0, 0)


def test_a_zip_of_very_many_entries_is_refused_before_its_directory_is_read(tmp_path):
    # The number of entries is a lie, as a bomb's would be: 22 million bytes of directory count.
    (tmp_path / "bomb.zip").write_bytes(directory_of(470_000))
    began = time.process_time()
    with pytest.raises(HarnessError, match="more than 20000; nothing was read"):
        archive.read(tmp_path / "bomb.zip")
    # Reading it takes three seconds here, and 60 kB an entry of memory for eight millions.
    assert time.process_time() - began < 1
    with pytest.raises(HarnessError, match="more than 3; nothing was read"):
        contents.parse_predictions(directory_of(1000), SAMPLES, 16, 3)


@pytest.mark.parametrize("tail", [b"PK\6\7" + bytes(16) + directory_of(0), directory_of(0) + b"comment"])
def test_a_zip_of_another_format_than_ours_is_refused(tmp_path, tail):
    (tmp_path / "other.zip").write_bytes(tail)
    with pytest.raises(HarnessError, match="not a zip, or damaged"):
        archive.read(tmp_path / "other.zip")


def bomb(rows: int, length: int) -> bytes:
    """Scores whose every sample has the same endless name, written once."""
    columns = {name: pa.array(np.full(rows, 0.5)) for name in contents.SCORES}
    name = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * length]))
    columns |= {"sample": name.cast(pa.string()) if rows * length < 1 << 20 else name}
    columns |= {"structure": pa.array(["cup"] * rows), "missed": pa.array([False] * rows)}
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written, compression="zstd")
    return written.getvalue()


def test_a_small_table_that_unpacks_to_gigabytes_is_refused_without_unpacking_it():
    samples = [f"s{i}" for i in range(5_000)]
    data = bomb(len(samples), 500_000)
    assert len(data) < 100_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(HarnessError, match=r"scores.parquet: "):
        contents.parse_scores(data, samples, ("cup",))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_table_of_very_many_groups_of_rows_is_refused():
    frame = pd.read_parquet(io.BytesIO(scores()))
    written = io.BytesIO()
    with pq.ParquetWriter(written, pa.Table.from_pandas(frame, preserve_index=False).schema) as file:
        for _ in range(40):
            file.write_table(pa.Table.from_pandas(frame.head(0), preserve_index=False))
        file.write_table(pa.Table.from_pandas(frame, preserve_index=False))
    with pytest.raises(HarnessError, match=r"scores.parquet: "):
        contents.parse_scores(written.getvalue(), SAMPLES, ("cup",))


@pytest.mark.parametrize(
    "header", [b"(" * 9_000, b"-" * 9_000 + b"1", b"[" * 3_000 + b"]" * 3_000, b"{0:" * 2_000]
)
def test_a_header_that_no_parser_survives_is_one_sentence(header):
    made = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(HarnessError, match=r"^predictions.npz: ") as caught:
        contents.parse_predictions(npz(samples=npy(np.array(SAMPLES)), labels=made), SAMPLES, 16, 3)
    assert "\n" not in str(caught.value)


def test_beyond_the_ceiling_whoever_asks_gets_a_memory_error():
    with pytest.raises(MemoryError), ceiling(64 << 20):
        bytearray(1 << 30)
    assert len(bytearray(1 << 27)) == 1 << 27


def test_what_takes_more_memory_than_a_submission_can_fails_and_is_said(world, monkeypatch):
    def hungry(case):
        yield bytearray(8 << 30)

    monkeypatch.setattr("harness.submission.verify.STAGES", ((hungry,),))
    (found,) = verify(world.submission, world.yardstick).failed
    assert "takes more memory than any such submission" in found.why


def test_a_file_that_is_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(HarnessError, match="no regular file"):
        archive.read(tmp_path / "pipe.zip")


def test_an_honest_submission_still_passes(world):
    assert not verify(world.submission, world.yardstick).failed
