"""A record's files as data: parsed from a stranger's bytes into arrays and tables, never executed."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.errors import HarnessError, plain
from harness.store import CURVE, FALSE_POSITIVE_AREA, QUANTITIES, SCORES, Record, names
from harness.store.values import unseen
from harness.submission.archive import check_directory, parsed_json

if TYPE_CHECKING:
    import pyarrow as pa

MOST_LOG = 16 << 20
"""Bytes of a log, and of a learning curve."""

_HEADER = 4096
_LONGEST_NAME = 256

_FLOATS = tuple(name for name in SCORES if name not in ("sample", "structure", "missed"))
_FRACTIONS = ("dice", "iou", "nsd")

_FARTHEST = 10_000
"""More than the distance of any two pixels of the largest grid."""

_MOST_EPOCHS = 1_000_000

_METADATA = 64 << 10
"""Bytes of the footer of scores.parquet: that of ten columns in one group of rows is a few thousand."""

_MOST_GROUPS = 16


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a library raises over a stranger's bytes into one sentence. Raises HarnessError."""
    try:
        yield
    except Exception as error:  # a dozen types: of zlib, Arrow, Python's parser out of memory
        if isinstance(error, HarnessError):
            raise
        lines = str(error).splitlines() or [type(error).__name__]
        raise HarnessError(f"{what}: cannot be read: {plain(lines[0][:200])}.") from None


def parse_record(data: bytes) -> Record:
    """Return record.json. Raises HarnessError where it does not fit the schema."""
    return parsed_json(data, Record, names.RECORD)


def parse_predictions(data: bytes, samples: Sequence[str], size: int, n_classes: int) -> np.ndarray:
    """Return the label maps of predictions.npz: uint8 [N, size, size], one for each of `samples` in order.

    Raises HarnessError for other samples, shapes, types or labels, for pickled objects, and for anything
    that would unpack to more than such an array.
    """
    limits = {
        "samples.npy": _HEADER + 4 * _LONGEST_NAME * len(samples),
        "labels.npy": _HEADER + len(samples) * size * size,
    }
    arrays = _arrays(data, limits)
    names, labels = arrays["samples.npy"], arrays["labels.npy"]
    if names.dtype.kind != "U" or names.tolist() != list(samples):
        raise HarnessError("predictions.npz: its samples are not the test samples in their order.")
    if labels.dtype != np.uint8 or labels.shape != (len(samples), size, size):
        raise HarnessError(
            f"predictions.npz: labels are {labels.dtype} {labels.shape}, not uint8 "
            f"{(len(samples), size, size)}."
        )
    if labels.size and labels.max() >= n_classes:
        raise HarnessError(
            f"predictions.npz: label {labels.max()} where the classes are 0 to {n_classes - 1}."
        )
    return labels


def parse_scores(data: bytes, samples: Sequence[str], structures: Sequence[str]) -> pd.DataFrame:
    """Return scores.parquet, columns `SCORES`: a row for each sample and structure, in their order.

    Raises HarnessError for another schema, other rows, and for what no score can be: fractions are from
    0 to 1, distances finite and not negative; only `vcdr_error` may be missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = len(samples) * len(structures)
    if len(data) > _METADATA + rows * 8 * _LONGEST_NAME:
        raise HarnessError("scores.parquet: larger than its rows can be.")
    if int.from_bytes(data[-8:-4], "little") > _METADATA:
        raise HarnessError(f"scores.parquet: its footer is larger than {_METADATA >> 10} KiB.")
    with reading(names.SCORES):
        # As a dictionary, a text counts once however many rows repeat it: written out, it may be gigabytes.
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=["sample", "structure"])
        about = file.metadata
        groups = [about.row_group(i) for i in range(min(about.num_row_groups, _MOST_GROUPS + 1))]
        columns = tuple(file.schema_arrow.names)
        if columns not in (SCORES, (*SCORES, FALSE_POSITIVE_AREA)) or about.num_rows != rows:
            found = plain(", ".join(columns))[:200]
            raise HarnessError(
                f"scores.parquet: {about.num_rows} rows of {found}; "
                f"a record has {rows} rows of {', '.join(SCORES)}."
            )
        if len(groups) > _MOST_GROUPS:
            raise HarnessError(f"scores.parquet: more than {_MOST_GROUPS} groups of rows.")
        if sum(group.total_byte_size for group in groups) > _HEADER + rows * 8 * _LONGEST_NAME:
            raise HarnessError("scores.parquet: unpacks to far more than its rows can hold.")
        table = _written_out(file.read(use_threads=False), rows)
    for name in columns:
        if table.schema.field(name).type != _kind(name):
            raise HarnessError(f"scores.parquet: column {name} is {table.schema.field(name).type}.")
        if (name == FALSE_POSITIVE_AREA or name not in _FLOATS) and table[name].null_count:
            raise HarnessError(f"scores.parquet: column {name} has missing values.")
    frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    due = [(sample, structure) for sample in samples for structure in structures]
    if list(zip(frame["sample"], frame["structure"], strict=True)) != due:
        raise HarnessError(
            "scores.parquet: its rows are not one for each test sample and structure, in order."
        )
    _check_range(frame)
    return frame


def _written_out(table: pa.Table, rows: int) -> pa.Table:
    """Return a table whose texts are texts again, once none of them is longer than a name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.num_rows != rows:
        raise HarnessError(f"scores.parquet: has {table.num_rows} rows where its footer says {rows}.")
    for name in ("sample", "structure"):
        column = table[name]
        if not pa.types.is_dictionary(column.type):
            continue
        for chunk in column.chunks:
            if (pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0) > 4 * _LONGEST_NAME:
                raise HarnessError("scores.parquet: unpacks to far more than its rows can hold.")
        table = table.set_column(table.column_names.index(name), name, column.cast(column.type.value_type))
    return table


def _check_range(frame: pd.DataFrame) -> None:
    for name in (*_FLOATS, *(one for one in (FALSE_POSITIVE_AREA,) if one in frame)):
        values = frame[name].to_numpy(float)
        possible = (values >= 0) & (values <= (1 if name in _FRACTIONS else _FARTHEST))
        if name == "vcdr_error":
            possible |= np.isnan(values)
        if not possible.all():
            row = int(np.argmin(possible))
            where = f"{frame['sample'][row]} {frame['structure'][row]}"
            kind = "a number from 0 to 1" if name in _FRACTIONS else "a finite number from 0"
            raise HarnessError(f"scores.parquet: {name} of {where} is {values[row]:g}, not {kind}.")


def parse_curve(data: bytes) -> pd.DataFrame:
    """Return curve.csv, columns `CURVE`. Raises HarnessError for other columns or what is no number."""
    if len(data) > MOST_LOG:
        raise HarnessError(f"curve.csv: larger than {MOST_LOG >> 20} MiB.")
    with reading(names.CURVE):
        rows = csv.reader(io.StringIO(data.decode()))
        if tuple(next(rows, ())) != CURVE:
            raise HarnessError(f"curve.csv: its columns are not {', '.join(CURVE)}.")
        values = [_curve_row(*row) for row in rows]
    frame = pd.DataFrame(values, columns=list(CURVE))
    if not np.isfinite(frame["value"].to_numpy(float)).all():
        raise HarnessError("curve.csv: a value is not finite.")
    return frame


def _curve_row(
    epoch: str, quantity: str, attribute: str, group: str, value: str
) -> tuple[int, str, str, str, float]:
    if not 0 <= int(epoch) <= _MOST_EPOCHS or quantity not in QUANTITIES:
        raise HarnessError(f"curve.csv: epoch {epoch[:40]!r} of {quantity[:40]!r} is none of a training.")
    if max(len(attribute), len(group)) > _LONGEST_NAME or unseen(attribute + group):
        raise HarnessError("curve.csv: a name is endless, or holds a character that no reader sees.")
    return int(epoch), quantity, attribute, group, float(value)


def parse_log(data: bytes) -> str:
    """Return log.txt, what is no UTF-8 or moves a cursor replaced. Raises HarnessError for one too large."""
    if len(data) > MOST_LOG:
        raise HarnessError(f"log.txt: larger than {MOST_LOG >> 20} MiB.")
    return plain(data.decode(errors="replace").replace("\r", "\n"), "\n\t")


def _kind(name: str) -> object:
    import pyarrow as pa

    return {"sample": pa.string(), "structure": pa.string(), "missed": pa.bool_()}.get(name, pa.float64())


def _arrays(data: bytes, limits: dict[str, int]) -> dict[str, np.ndarray]:
    with reading(names.PREDICTIONS):
        check_directory(data, len(limits) + 1, names.PREDICTIONS)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = sorted(archive.namelist())
            if members != sorted(limits):
                raise HarnessError(f"predictions.npz: holds {str(members)[:200]}, not samples and labels.")
            return {name: _array(_bounded(archive, name, most), name) for name, most in limits.items()}


def _bounded(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Return a member's bytes; stops unpacking at one byte too many, whatever its header claims."""
    with archive.open(name) as member:
        data = member.read(most + 1)
    if len(data) > most:
        raise HarnessError(
            f"predictions.npz: {name} unpacks to more than {most} bytes, which no array here has."
        )
    return data


def _array(data: bytes, name: str) -> np.ndarray:
    """Return an .npy file's array, after its header has been found to fit its bytes."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise HarnessError(f"predictions.npz: {name} is of npy version {version}; numpy writes these as 1.0.")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise HarnessError(f"predictions.npz: {name} holds pickled Python objects, which are never loaded.")
    body = data[file.tell() :]
    if fortran or len(body) != math.prod(shape) * dtype.itemsize:
        raise HarnessError(
            f"predictions.npz: {name} says shape {str(shape)[:100]}, which its bytes do not fill."
        )
    return np.frombuffer(body, dtype).reshape(shape)
