"""What the files of a store hold, as bytes and back: the same values give the same bytes; damage is told."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.arrays import Archive
from harness.errors import HarnessError, plain
from harness.store.schema import CURVE, FALSE_POSITIVE_AREA, SCHEMA_VERSION, SCORES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

Model = TypeVar("Model", bound=BaseModel)

_TEXTS, _FLAGS = ("sample", "structure"), ("missed",)

# The system's own refusals: the file may be as it was written.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.EIO)


class Damaged(HarnessError):
    """A file that is not what was written there: cut off, garbled, of another shape, or gone."""


@contextmanager
def reading(path: Path, mend: str) -> Iterator[None]:
    """Turn whatever is raised over a damaged file into one sentence: the file, why, and what mends it.

    Raises Damaged; what the system refuses is raised as it is.
    """
    try:
        yield
    except Damaged:
        raise
    except FileNotFoundError:
        raise Damaged(f"{path}: is missing; {mend}.") from None
    except Exception as error:  # libraries raise a dozen types over garbled bytes
        if isinstance(error, OSError) and error.errno in _REFUSED:
            raise
        raise Damaged(f"{path}: cannot be read ({said(error)}); {mend}.") from None


def said(error: BaseException) -> str:
    """Return the first line of an error as a part of a sentence."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        text = f"{where}: {first['msg']}" if where else str(first["msg"])
    else:
        text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return plain(text.strip().rstrip(".")[:200])


def parse_json(text: bytes, path: Path, model: type[Model], mend: str) -> Model:
    """Return what a JSON file of the store says. Raises Damaged where it does not fit the model."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise Damaged(f"{path}: not a record of schema {SCHEMA_VERSION} ({said(error)}); {mend}.") from None


def scores_bytes(frame: pd.DataFrame) -> bytes:
    """Return scores.parquet: its schema is spelt out; pandas' own metadata, with its version, is left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict.fromkeys(_TEXTS, pa.string()) | dict.fromkeys(_FLAGS, pa.bool_())
    columns = [*SCORES, *(name for name in (FALSE_POSITIVE_AREA,) if name in frame)]
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in columns])
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None)
    written = io.BytesIO()
    pq.write_table(table, written, compression="zstd")
    return written.getvalue()


def curve_bytes(rows: Iterable[tuple[Any, ...]] | pd.DataFrame) -> bytes:
    """Return curve.csv."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(CURVE)).to_csv(index=False).encode()


def table_text(frame: pd.DataFrame) -> str:
    """Return a table as CSV, every number to its last digit."""
    return str(frame.to_csv(index=False, lineterminator="\n"))


def frame_bytes(frame: pd.DataFrame) -> bytes:
    """Return any other table as Parquet."""
    return bytes(frame.to_parquet(index=False))


def arrays_bytes(**arrays: Any) -> bytes:
    """Return named arrays as a compressed .npz."""
    import numpy as np

    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


def array_bytes(array: np.ndarray) -> bytes:
    """Return one array as .npy."""
    import numpy as np

    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def parse_scores(data: bytes, columns: Iterable[str] = SCORES) -> pa.Table:
    """Return some columns of scores.parquet, and FALSE_POSITIVE_AREA with all of them where it has that.

    Raises ValueError where it has others, or of other types.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Read whole: opened by its path, each of very many small files takes twice as long.
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        columns = list(columns)
        if tuple(columns) == SCORES and FALSE_POSITIVE_AREA in file.schema_arrow.names:
            columns.append(FALSE_POSITIVE_AREA)
        table = file.read(columns, use_threads=False)
    for name in columns:
        if name not in table.column_names or not _fits(name, table.schema.field(name).type):
            raise ValueError(f"it has no column {name} as scores have it")
    return table


def _fits(name: str, kind: pa.DataType) -> bool:
    import pyarrow as pa

    if name in _TEXTS:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    if name in _FLAGS:
        return bool(pa.types.is_boolean(kind))
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def parse_curve(data: bytes) -> pd.DataFrame:
    """Return curve.csv. Raises ValueError for other columns, or what is no number where one is due."""
    import pandas as pd

    frame = pd.read_csv(io.BytesIO(data), keep_default_na=False)
    if tuple(frame.columns) != CURVE:
        raise ValueError(f"its columns are not {', '.join(CURVE)}")
    return frame.astype({"epoch": "int64", "value": "float64"})


def parse_arrays(data: bytes, *names: str) -> list[np.ndarray]:
    """Return arrays of an .npz, the same number of rows each. Raises ValueError for others."""
    with Archive(io.BytesIO(data)) as found:
        arrays = [found[name] for name in names]
    if any(array.ndim == 0 or len(array) != len(arrays[0]) for array in arrays):
        raise ValueError(f"{' and '.join(names)} are not one a sample")
    return arrays


def parse_frame(data: bytes, *columns: str) -> pd.DataFrame:
    """Return a table of Parquet. Raises ValueError where it lacks a column."""
    import pandas as pd

    frame = pd.read_parquet(io.BytesIO(data))
    missing = [name for name in columns if name not in frame]
    if missing:
        raise ValueError(f"it has no column {missing[0]}")
    return frame
