"""Numbers from papers: shown beside ours with their source, never ranked with them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError

FILE = "reported.toml"

Fraction = Annotated[float, Field(ge=0, le=1)]


class Reported(BaseModel):
    """One row of RUNS/reported.toml: what a paper says of a method, fractions as on the board."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: str
    attribute: str
    structure: str
    method: str
    citation: Annotated[str, Field(min_length=1)]
    """Where the number stands, with its table: nothing is shown without a source."""
    url: str = ""
    es_dice: Fraction | None = None
    """Under the definition named in `definition`."""
    dice: Fraction | None = None
    iou: Fraction | None = None
    groups: dict[str, Fraction] = {}
    definition: str = "ES-Dice (sum)"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    row: tuple[Reported, ...] = ()


def of_runs(runs: Path) -> tuple[Reported, ...]:
    """Read the rows of RUNS/reported.toml, none where there is no such file.

    Raises HarnessError for a file that is not TOML or has a row that does not fit.
    """
    path = runs / FILE
    if not path.is_file():
        return ()
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).row
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not TOML: {error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise HarnessError(f"{path}: {key}: {first['msg'].rstrip('.')}.") from None
