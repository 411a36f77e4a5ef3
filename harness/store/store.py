"""Where records lie and how they are listed: plain files, readable with pandas alone.

    ROOT/records/ID/      one trial: record.json, scores.parquet, predictions.npz, curve.csv, log.txt
    ROOT/protocols/KEY/   one board: protocol.json, subjects.parquet, sizes.parquet, cases.npz
    ROOT/archive/KEY/     a board that was set aside: it is on no site, its records stay
    ROOT/weights/         trained weights, for the methods that start from them
    ROOT/parts/DIGEST     what identities are made of, to say what changed
    ROOT/work/ID/         checkpoints of trials that are not finished

The leaderboard reads the first two and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import HarnessError
from harness.store import files
from harness.store.schema import SCHEMA_VERSION, ProtocolRecord, Record

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Model = TypeVar("Model", bound=BaseModel)


class Store:
    """The records under one root folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if self.root.is_file():
            raise HarnessError(f"--runs {root}: a file; give the folder of the records.")

    def path(self, trial: str) -> Path:
        """Return the folder of a trial's record, there or not."""
        return self.root / "records" / trial

    def work(self, trial: str) -> Path:
        """Return the folder for the checkpoints of an unfinished trial, made if need be."""
        folder = self.root / "work" / trial
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def weights(self, trial: str) -> Path:
        """Return the file of a finished trial's trained weights."""
        return self.root / "weights" / f"{trial}.safetensors"

    def has(self, trial: str) -> bool:
        """Tell whether a trial has left a record, done or failed."""
        return (self.path(trial) / "record.json").is_file()

    def is_done(self, trial: str) -> bool:
        """Tell whether a trial has left a record, and not of a failure."""
        return self.has(trial) and self.record(trial).status == "done"

    def ids(self) -> list[str]:
        """Return the ids of all records, sorted."""
        return sorted(p.parent.name for p in self.root.glob("records/*/record.json"))

    def record(self, trial: str) -> Record:
        """Read record.json. Raises HarnessError if it is missing or does not fit the schema."""
        return _read(self.path(trial) / "record.json", Record)

    def scores(self, trial: str) -> pd.DataFrame:
        """Read scores.parquet; columns are `SCORES`."""
        import pandas as pd

        return pd.read_parquet(self.path(trial) / "scores.parquet")

    def curve(self, trial: str) -> pd.DataFrame:
        """Read curve.csv; columns are `CURVE`."""
        import pandas as pd

        return pd.read_csv(self.path(trial) / "curve.csv", keep_default_na=False)

    def log(self, trial: str) -> str:
        """Read log.txt."""
        return (self.path(trial) / "log.txt").read_text(encoding="utf-8", errors="replace")

    def predictions(self, trial: str) -> tuple[np.ndarray, np.ndarray]:
        """Return sample names [N] and predicted class indices, uint8 [N, H, W]."""
        import numpy as np

        with np.load(self.path(trial) / "predictions.npz", allow_pickle=False) as data:
            return data["samples"], data["labels"]

    def protocols(self) -> list[str]:
        """Return the keys of the boards that are here, sorted: a protocol's name, or name@digest."""
        return sorted(p.parent.name for p in self.root.glob("protocols/*/protocol.json"))

    def boards_of(self, name: str) -> list[str]:
        """Return the keys of the boards under a protocol's name: the plain one first."""
        return [key for key in self.protocols() if key == name or key.startswith(f"{name}@")]

    def board_key(self, name: str, digest: str) -> str:
        """Return the key of the board of a protocol with this digest, there or not.

        A protocol is its digest and a name is a label: the first board under a name has it for its key,
        another one `name@` and the start of its digest.
        """
        keys = self.boards_of(name)
        for key in keys:
            if self.protocol(key).digest == digest:
                return key
        return f"{name}@{digest[:8]}" if name in keys else name

    def board_folder(self, key: str) -> Path:
        """Return the folder of a board, there or not."""
        return self.root / "protocols" / key

    def archived(self, key: str) -> Path:
        """Return the folder of a board that was set aside, there or not."""
        return self.root / "archive" / key

    def protocol(self, name: str) -> ProtocolRecord:
        """Read a protocol's description and its plan."""
        return _read(self.root / "protocols" / name / "protocol.json", ProtocolRecord)

    def subjects(self, name: str) -> pd.DataFrame:
        """Read subjects.parquet: sample, patient, split and a column of groups per attribute."""
        import pandas as pd

        return pd.read_parquet(self.root / "protocols" / name / "subjects.parquet")

    def sizes(self, name: str) -> pd.DataFrame | None:
        """Return `sample` and a column for each structure, its true size in pixels, of the test samples.

        None for a protocol recorded without.
        """
        import pandas as pd

        path = self.root / "protocols" / name / "sizes.parquet"
        return pd.read_parquet(path) if path.is_file() else None

    def cases(self, name: str) -> dict[str, np.ndarray] | None:
        """Return test images and truths where the cohort allows showing them, else None.

        samples: str [N]; images: uint8 [N, H, W, 3]; masks: uint8 class indices [N, H, W].
        """
        path = self.root / "protocols" / name / "cases.npz"
        if not path.is_file():
            return None
        import numpy as np

        with np.load(path, allow_pickle=False) as data:
            return {key: data[key] for key in ("samples", "images", "masks")}

    def part(self, digest: str) -> bytes | None:
        """Return what an identity was made of, kept under its digest; None where nothing is."""
        path = self.root / "parts" / digest
        return path.read_bytes() if path.is_file() else None

    def keep_part(self, digest: str, content: bytes) -> None:
        """Keep what an identity is made of: the outline of a file's code, the digests of some samples."""
        path = self.root / "parts" / digest
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(path, content)

    @contextmanager
    def locked(self, protocol: str) -> Iterator[None]:
        """Keep other processes from changing a protocol's description between reading and writing it."""
        folder = self.root / "protocols"
        folder.mkdir(parents=True, exist_ok=True)
        with files.locked(folder / f".{protocol}.lock"):
            yield


def _read(path: Path, model: type[Model]) -> Model:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise HarnessError(
            f"{path}: {error.strerror}; is --runs the folder that harness run wrote?"
        ) from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise HarnessError(f"{path}: not a record of schema {SCHEMA_VERSION}: {error}") from None
