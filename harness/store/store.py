"""Where records lie and how they are listed: plain files, readable with pandas alone.

    ROOT/records/ID/      one trial: record.json, scores.parquet, predictions.npz, curve.csv, log.txt
    ROOT/protocols/KEY/   one board: protocol.json, subjects.parquet, sizes.parquet, cases.npz
    ROOT/archive/KEY/     a board that was set aside: it is on no site, its records stay
    ROOT/weights/         trained weights, for the methods that start from them
    ROOT/parts/DIGEST     what identities are made of, to say what changed
    ROOT/work/ID/         checkpoints of trials that are not finished

The leaderboard reads the first two and nothing else. A name that begins with a dot is being written, or
was when its process died, and is on no list.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from harness.errors import HarnessError, plain
from harness.store import claims, files, formats, names
from harness.store.formats import Damaged
from harness.store.schema import SCORES, ProtocolRecord, Record

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

Found = TypeVar("Found")
Status = Literal["done", "failed", "damaged", "none"]

_LOG = logging.getLogger(__name__)

_RUN_AGAIN = "harness run trains this trial again, or delete its folder"
_PLAN_AGAIN = "harness run of the board's methods writes it anew and trains nothing twice"


class Store:
    """The records under one root folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if self.root.is_file():
            raise HarnessError(f"--runs {root}: a file; give the folder of the records.")
        self._told: set[str] = set()

    def path(self, trial: str) -> Path:
        """Return the folder of a trial's record, there or not."""
        return self.root / "records" / trial

    def work(self, trial: str) -> Path:
        """Return the folder for the checkpoints of an unfinished trial, made if need be."""
        folder = self._work(trial)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def progress(self, trial: str) -> Path:
        """Return the file in which a trial under way says how far it is."""
        return self._work(trial) / names.PROGRESS

    def checkpoint(self, trial: str) -> Path:
        """Return the file that a trial that is not finished goes on from, there or not."""
        return self._work(trial) / names.CHECKPOINT

    def clear_work(self, trial: str) -> None:
        """Remove what a trial left behind when it was not finished."""
        if self._work(trial).is_dir():
            files.remove(self._work(trial))

    def _work(self, trial: str) -> Path:
        return self.root / "work" / trial

    @contextmanager
    def claimed(
        self, trial: str, about: Mapping[str, Any] | None = None, lost: Callable[[], None] | None = None
    ) -> Iterator[bool]:
        """Tell whether this process alone runs a trial until the block ends; see `claims.claimed`."""
        self.work(trial)
        with claims.claimed(self.claim(trial), about, lost) as own:
            yield own

    def claim(self, trial: str) -> Path:
        """Return the file that the claims on a trial are named after."""
        return self._work(trial) / names.CLAIM

    def weights(self, trial: str) -> Path:
        """Return the file of a finished trial's trained weights."""
        return self.root / "weights" / f"{trial}{names.WEIGHTS}"

    def sweep(self) -> None:
        """Remove what processes that died left aside; what one had taken out of its place is put back."""
        for name in ("", "records", "protocols", "weights", "parts", "work"):
            if (self.root / name).is_dir():
                files.sweep(self.root / name)

    def has(self, trial: str) -> bool:
        """Tell whether a trial has left a record, done or failed, whatever became of it."""
        return (self.path(trial) / names.RECORD).is_file()

    def status(self, trial: str) -> Status:
        """Return how a trial ended, "none" where it has no record, "damaged" where that cannot be read."""
        if not self.has(trial):
            return "none"
        record = self.spared(self.record, trial)
        return "damaged" if record is None else record.status

    def is_done(self, trial: str) -> bool:
        """Tell whether a trial has left a record, and not of a failure."""
        return self.status(trial) == "done"

    def ids(self) -> list[str]:
        """Return the ids of all records, sorted."""
        return _listed(self.root / "records", names.RECORD)

    def records(self) -> list[Record]:
        """Return all records by id, but for those that cannot be read: of them is told."""
        return list(self.each_record())

    def each_record(self) -> Iterator[Record]:
        """Give the same one by one."""
        found = (self.spared(self.record, trial) for trial in self.ids())
        yield from (record for record in found if record is not None)

    def record(self, trial: str) -> Record:
        """Read record.json. Raises Damaged if it is missing or does not fit the schema."""
        path = self.path(trial) / names.RECORD
        record = formats.parse_json(_text(path), path, Record, _RUN_AGAIN)
        if record.id != trial:
            raise Damaged(f"{path}: is of the trial {plain(record.id[:40])}; {_RUN_AGAIN}.")
        return record

    def scores(self, trial: str) -> pd.DataFrame:
        """Read scores.parquet; columns are `SCORES`. Raises Damaged."""
        frame: pd.DataFrame = self.score_table(self.record(trial)).to_pandas()
        return frame

    def score_table(self, record: Record, columns: Iterable[str] = SCORES) -> pa.Table:
        """Read some columns of a record's scores.parquet. Raises Damaged."""
        return self._read(record, names.SCORES, lambda data: formats.parse_scores(data, columns))

    def curve(self, trial: str) -> pd.DataFrame:
        """Read curve.csv; columns are `CURVE`. Raises Damaged."""
        return self._read(self.record(trial), names.CURVE, formats.parse_curve)

    def log(self, trial: str) -> str:
        """Read log.txt, "" where there is none."""
        path = self.path(trial) / names.LOG
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def predictions(self, trial: str, digests: list[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return sample names [N] and predicted class indices, uint8 [N, H, W]. Raises Damaged.

        The SHA-256 of the file that was read is put to `digests`.
        """

        def parse(data: bytes) -> tuple[np.ndarray, np.ndarray]:
            if digests is not None:
                digests.append(hashlib.sha256(data).hexdigest())
            samples, labels = formats.parse_arrays(data, "samples", "labels")
            if labels.dtype != "uint8" or labels.ndim != 3:
                raise ValueError(f"its labels are {labels.dtype} {labels.shape}")
            return samples, labels

        return self._read(self.record(trial), names.PREDICTIONS, parse)

    def digest(self, trial: str, name: str) -> str:
        """Return the SHA-256 of a file of a record as it is, "" where there is none."""
        path = self.path(trial) / name
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def _read(self, record: Record, name: str, parse: Callable[[bytes], Found]) -> Found:
        """Return what a file of a record holds, which must be the one that its record.json hashes."""
        path = self.path(record.id) / name
        mend = f"delete {path.parent} and run the trial again"
        if record.obtained != "run":
            mend = f"delete {path.parent} and submit its file again"
        with formats.reading(path, mend):
            data = path.read_bytes()
            found = parse(data)
            # A bit that changed where a library does not look would be a score like any other.
            if name in record.files and record.files[name] != hashlib.sha256(data).hexdigest():
                raise ValueError("it is not the file that its record.json hashes")
            return found

    def protocols(self) -> list[str]:
        """Return the keys of the boards that are here, sorted: a protocol's name, or name@digest."""
        return _listed(self.root / "protocols", names.PROTOCOL)

    def boards(self) -> list[ProtocolRecord]:
        """Return the boards that are here, but for those that cannot be read: of them is told."""
        found = (self.spared(self.protocol, key) for key in self.protocols())
        return [board for board in found if board is not None]

    def boards_of(self, name: str) -> list[str]:
        """Return the keys of the boards under a protocol's name: the plain one first."""
        return [key for key in self.protocols() if key == name or key.startswith(f"{name}@")]

    def board_key(self, name: str, digest: str) -> str:
        """Return the key of the board of a protocol with this digest, there or not.

        A protocol is its digest and a name is a label: the first board under a name has it for its key,
        another one `name@` and the start of its digest. One that cannot be read is what its key says.
        """
        own = f"{name}@{digest[:8]}"
        boards = {key: self.spared(self.protocol, key) for key in self.boards_of(name)}
        for key, board in boards.items():
            if board is not None and board.digest == digest:
                return key
        damaged = [key for key, board in boards.items() if board is None and key in (name, own)]
        return damaged[-1] if damaged else own if name in boards else name

    def board_folder(self, key: str) -> Path:
        """Return the folder of a board, there or not."""
        return self.root / "protocols" / key

    def board_file(self, key: str, name: str = names.PROTOCOL) -> Path:
        """Return a file of a board, there or not; without a name, that of its description and its plan."""
        return self.board_folder(key) / name

    def set_aside(self) -> list[str]:
        """Return the keys of the boards that were set aside, sorted."""
        return _listed(self.root / "archive", names.PROTOCOL)

    def archived(self, key: str) -> Path:
        """Return the folder of a board that was set aside, there or not."""
        return self.root / "archive" / key

    def protocol(self, name: str) -> ProtocolRecord:
        """Read a board's description and its plan. Raises Damaged."""
        path = self.board_file(name)
        return formats.parse_json(_text(path), path, ProtocolRecord, _PLAN_AGAIN)

    def subjects(self, name: str, attributes: Iterable[str] = ()) -> pd.DataFrame:
        """Read subjects.parquet: sample, patient, split and a column of groups per attribute.

        Raises Damaged, where one of `attributes` is not there too.
        """
        path = self.board_file(name, names.SUBJECTS)
        with formats.reading(path, _PLAN_AGAIN):
            return formats.parse_frame(path.read_bytes(), "sample", "patient", "split", *attributes)

    def sizes(self, name: str, structures: Iterable[str] = ()) -> pd.DataFrame | None:
        """Return `sample` and a column for each structure, its true size in pixels, of the test samples.

        None for a protocol recorded without. Raises Damaged, where one of `structures` is not there too.
        """
        path = self.board_file(name, names.SIZES)
        if not path.is_file():
            return None
        with formats.reading(path, _PLAN_AGAIN):
            return formats.parse_frame(path.read_bytes(), "sample", *structures)

    def cases(self, name: str) -> dict[str, np.ndarray] | None:
        """Return test images and truths where the cohort allows showing them, else None.

        samples: str [N]; images: uint8 [N, H, W, 3]; masks: uint8 class indices [N, H, W]. Raises Damaged.
        """
        path = self.board_file(name, names.CASES)
        if not path.is_file():
            return None
        with formats.reading(path, _PLAN_AGAIN):
            samples, images, masks = formats.parse_arrays(path.read_bytes(), "samples", "images", "masks")
            if images.shape != (*masks.shape, 3) or {str(images.dtype), str(masks.dtype)} != {"uint8"}:
                raise ValueError(f"its images are {images.dtype} {images.shape}")
            return {"samples": samples, "images": images, "masks": masks}

    def spared(self, read: Callable[..., Found | None], *args: Any) -> Found | None:
        """Return `read(*args)`; None, with a warning that says so once, where what it reads is damaged."""
        try:
            return read(*args)
        except Damaged as error:
            self.tell(error)
            return None

    def tell(self, error: HarnessError) -> None:
        """Warn of what costs only itself, once however often it is met."""
        if str(error) not in self._told:
            self._told.add(str(error))
            _LOG.warning("%s", error)

    def part(self, digest: str) -> bytes | None:
        """Return what an identity was made of, kept under its digest; None where nothing is."""
        path = self.root / "parts" / digest
        return path.read_bytes() if path.is_file() else None

    def keep_part(self, digest: str, content: bytes) -> None:
        """Keep what an identity is made of: the outline of a file's code, the digests of some samples."""
        path = self.root / "parts" / digest
        if not path.is_file():
            files.make(path.parent)
            files.write(path, content)

    @contextmanager
    def locked(self, protocol: str) -> Iterator[None]:
        """Keep other processes from changing a protocol's description between reading and writing it."""
        folder = self.root / "protocols"
        with claims.held(folder / f".{protocol}.lock"):
            # What one that died had taken out of its place is to be read, not overwritten.
            files.sweep(folder)
            yield


def _listed(folder: Path, name: str) -> list[str]:
    """Return the folders that hold such a file, but for those that are being written."""
    try:
        found = [one for one in os.listdir(folder) if not one.startswith(".")]
    except OSError:
        return []
    return sorted(one for one in found if os.path.lexists(os.path.join(folder, one, name)))


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        kind = Damaged if isinstance(error, FileNotFoundError) else HarnessError
        raise kind(f"{path}: {error.strerror}; is --runs the folder that harness run wrote?") from None
