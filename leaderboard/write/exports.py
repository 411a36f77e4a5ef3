"""The tables as files to take away: leaderboard.csv, leaderboard.json and the schema of both."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from pydantic import BaseModel, ConfigDict, Field, create_model

from harness import equity
from harness.identity import data_digest
from harness.store import Obtained, Record, Withdrawal
from leaderboard.compute import columns, facts, tracks, words
from leaderboard.compute.across import Across
from leaderboard.compute.results import Result
from leaderboard.compute.row import Number, Row
from leaderboard.compute.sections import Section
from leaderboard.read.boards import Board, Status
from leaderboard.spared import Spared

SCHEMA_VERSION: Literal[2] = 2
"""Of leaderboard.json. New fields leave it as it is, because a reader passes over what it does not know; a
field that goes, or means another thing, makes it one more."""

FILE, SCHEMA = "leaderboard.json", "leaderboard.schema.json"

_WORDS = ("quantity", "group", "metric", "verdict", "letters", "letters_views", "note")
_COUNTS = (
    *("patients", "samples", "rank", "rank_low", "rank_high"),
    *("views", "rank_low_views", "rank_high_views"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_ABOUT = ("protocol", "attribute", "structure", "track", "metric", "method", "status", "obtained")
CSV = (*_ABOUT, *(column for column in equity.TIDY if column != "method"))
"""Columns of leaderboard.csv: one row a method, metric, quantity and group; a method without a finished
trial has one row with its status. The numbers are those of `harness.equity` to six significant digits."""


_NO_ROWS = pd.DataFrame(columns=list(CSV))


class _Json(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="null")


class Value(_Json):
    """A number with its 95% interval; null where there is none, and then `note` says why."""

    estimate: float | None
    low: float | None
    high: float | None
    note: str = ""
    corrected: float | None = Field(None, description="freed of the bias that noise gives gaps and ES")


class _Method(_Json):
    """A method under one attribute and structure."""

    method: str
    title: str
    status: Status
    obtained: Obtained | None = Field(
        None,
        description="run here, verified (scores recomputed), predictions (only, scored here) or reported",
    )
    trained: str = Field("", description="by the harness, by itself (it trains its own model), or not known")
    hyper_parameters_are: str = Field(
        "", description="defaults, set by the protocol, nothing to tune or best of N tries; empty for none"
    )
    seeds: list[int] = Field(description="seeds of the finished trials")
    trials: list[str] = Field(description="ids of the finished trials, by seed")
    trials_planned: int
    identity: dict[str, str] = Field(description="what is hashed into the trials' ids, but for the seed")
    errors: dict[int, str] = Field(description="seed to the sentence of its failed trial")
    rank: int | None = Field(ge=1)
    rank_low: int | None = Field(ge=1, description="best rank that cannot be excluded")
    rank_high: int | None = Field(ge=1, description="worst rank that cannot be excluded")
    p_best: float | None = Field(ge=0, le=1, description="share of resamples in which the method is first")
    letters: str = Field(description="methods that share a letter cannot be told apart")
    scores: dict[str, dict[str, Value]] = Field(description="metric to quantity to value")
    groups: dict[str, dict[str, Value]] = Field(description="metric to group to its mean score")


_TYPES = {Number | None: Value | None}
"""What a type of the rows is called in JSON, where that differs."""

if TYPE_CHECKING:
    MethodResult = _Method
else:
    # With a field for every fact that a column declares.
    MethodResult = create_model(
        "MethodResult",
        __base__=_Method,
        **{
            fact.key: (
                _TYPES.get(fact.type, fact.type),
                Field(None if fact.later else ..., description=fact.description),
            )
            for fact in columns.facts()
        },
    )
    MethodResult.__doc__ = _Method.__doc__


class EnoughResult(_Json):
    """What it takes to tell two methods of a section so far apart, among all pairs, with probability 0.8."""

    difference: float = Field(description="of ES-Dice (sum)")
    seeds_needed: float | None = Field(description="of every method, with these patients; null for none")
    patients_needed: float | None = Field(description="with these seeds; null where seeds alone hide it")
    detectable: float | None = Field(description="the least difference that is told as things are")


class UnknownResult(_Json):
    """A method on the people whose group nobody recorded; null where they are too few."""

    method: str
    samples: int
    patients: int
    known: float | None = Field(description="mean Dice of those of known group")
    unknown: float | None = Field(description="mean Dice of those of unknown group")
    difference: float | None = Field(description="unknown minus known")
    low: float | None = Field(description="95%, for all methods together")
    high: float | None
    p: float | None
    gap_low: float | None = Field(description="least gap, were they all of one group")
    gap_high: float | None = Field(description="largest gap, were they all of one group")
    all_in_low: str = Field(description="the group that makes it the least")
    all_in_high: str = Field(description="the group that makes it the largest")


class ChoiceResult(_Json):
    """The order under another definition, metric, checkpoint or choice of seeds."""

    name: str
    ranks: dict[str, int] = Field(description="method to rank, ties shared")


class SectionResult(_Json):
    """One attribute and structure; methods in order of ES-Dice (sum), those without a rank last."""

    attribute: str
    structure: str
    track: str = Field(
        tracks.MAIN,
        description="main; or at-test, whose methods but the baseline need each patient's attribute to "
        "predict: ranked among themselves, never with the main track",
    )
    group_samples: dict[str, int]
    group_patients: dict[str, int]
    baseline: str | None
    not_computed: dict[str, str] = Field(
        {}, description="metric, or the table, to why it could not be computed"
    )
    methods: list[MethodResult]
    equivalence_margin: float = Field(
        equity.MARGIN, description="of ES-Dice (sum), within which two methods are equivalent"
    )
    enough: list[EnoughResult] = Field([], description="empty for one method or one seed")
    unknown: list[UnknownResult] = Field([], description="empty where everybody's group is known")
    choices: list[ChoiceResult] = Field([], description="empty for one method and for very many")


class AcrossResult(_Json):
    """A method over all attributes and structures of a board, with the means over them."""

    track: str = Field(tracks.MAIN, description="as of the sections")
    method: str
    es_dice: Value
    mean_rank: float
    rank_low: int = Field(description="best rank on the mean that cannot be excluded")
    rank_high: int = Field(description="worst rank on the mean that cannot be excluded")
    letters: str = Field(description="methods that share a letter cannot be told apart on the mean")


class ProtocolResult(_Json):
    """One board."""

    name: str
    title: str
    digest: str
    cohort: dict[str, Any]
    protocol: dict[str, Any]
    command: str
    broken: dict[str, str] = Field(description="plugins that could not be imported, and why")
    withdrawn: list[Withdrawal] = Field([], description="rows that were taken off or corrected, and why")
    sections: list[SectionResult]
    across: list[AcrossResult] = Field(
        [],
        description="empty for a single table, for fewer than two methods with all tables, and for very many",
    )


class Export(_Json):
    """leaderboard.json: everything that a site shows, for programs; `harness.read_board` makes a frame of it.

    Scores are fractions, distances millimetres or pixels, intervals 95%.
    """

    schema_file: str = Field(SCHEMA, alias="$schema", description="where the schema lies, from here")
    schema_version: Literal[2] = SCHEMA_VERSION
    definition_digest: str = Field(description="SHA-256 over the source of harness.equity")
    protocols: list[ProtocolResult]


def write(folder: Path, place: int, result: Result) -> None:
    """Write the part of leaderboard.csv and of leaderboard.json that a board has at its place, for `join`."""
    spared = Spared()
    # Section by section: the rows of a large board are hundreds of megabytes before they are text.
    with (folder / f"{place}.csv").open("wb") as sink:
        for i, section in enumerate(result.sections):
            make = partial(csv_rows, result.board, section)
            rows = spared.build(_place(result, section), make, _NO_ROWS)
            table = pa.Table.from_pandas(rows[list(CSV)], preserve_index=False)
            pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(include_header=i == 0))
    before, _, after = _protocol(result).model_dump_json(by_alias=True).rpartition('"sections":[]')
    with (folder / f"{place}.json").open("w", encoding="utf-8") as text:
        text.write(f'{before}"sections":[')
        for i, section in enumerate(result.sections):
            part = partial(_section, result, section)
            found = spared.build(_place(result, section), part, None) or _bare(section)
            text.write("," * (i > 0) + found.model_dump_json(by_alias=True))
        text.write(f"]{after}")


def content(folder: Path) -> bytes:
    """Return the text of a site's leaderboard.json, which may be packed. Raises OSError."""
    packed = folder / f"{FILE}.gz"
    return gzip.decompress(packed.read_bytes()) if packed.is_file() else (folder / FILE).read_bytes()


def join(folder: Path, parts: Path, count: int, packed: bool = False) -> None:
    """Put the parts of so many boards together, packed or not; write the schema beside them."""
    with (folder / "leaderboard.csv").open("wb") as whole:
        for place in range(count):
            with (parts / f"{place}.csv").open("rb") as part:
                header = part.readline()
                whole.write(header if place == 0 else b"")
                shutil.copyfileobj(part, whole)
    around = Export(definition_digest=definition_digest(), protocols=[]).model_dump_json(by_alias=True)
    with (folder / FILE).open("wb") as whole:
        whole.write(around.removesuffix("]}").encode())
        for place in range(count):
            whole.write(b"," if place else b"")
            whole.write((parts / f"{place}.json").read_bytes())
        whole.write(b"]}\n")
    (folder / SCHEMA).write_text(schema(), encoding="utf-8")
    for path in (folder / FILE, folder / "leaderboard.csv") if packed else ():
        # A level at which a hundred megabytes take two seconds; more makes a tenth less of them.
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 5, mtime=0))
        path.unlink()


def schema() -> str:
    """Return the JSON schema of leaderboard.json; `leaderboard/schemas/` holds it for every version."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"leaderboard.json, version {SCHEMA_VERSION}",
    }
    return json.dumps(Export.model_json_schema() | head, indent=1, sort_keys=True) + "\n"


def _place(result: Result, section: Section) -> str:
    return f"leaderboard.csv, {result.board.name}, {section.name}"


def definition_digest() -> str:
    """Return the SHA-256 over the source of harness.equity, where the definitions are."""
    digest = hashlib.sha256()
    for path in sorted(Path(equity.__path__[0]).glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def csv_rows(board: Board, section: Section) -> pd.DataFrame:
    """Return a section's rows of leaderboard.csv."""
    parts = [tables.tidy.assign(metric=metric) for metric, tables in section.tables.items()]
    idle = [row.method for row in section.rows if not row.metrics]
    parts.append(pd.DataFrame({"method": idle}, dtype=object))
    frame = pd.concat(parts).reindex(columns=list(CSV))
    status = {row.method: row.status for row in section.rows}
    obtained = {row.method: row.obtained or "" for row in section.rows}
    frame = frame.assign(
        protocol=board.name,
        attribute=section.attribute,
        structure=section.structure,
        track=section.track,
        status=frame["method"].map(status),
        obtained=frame["method"].map(obtained),
    )
    for column in _WORDS:
        frame[column] = frame[column].astype(object).fillna("").astype(str)
    for column in (*_ABOUT, *_WORDS):
        frame[column] = frame[column].map({text: no_formula(text) for text in frame[column].unique()})
    for column in set(equity.TIDY) - {"method", "better", *_WORDS, *_COUNTS}:
        frame[column] = _rounded(frame[column])
    frame["better"] = [None if pd.isna(value) else bool(value) for value in frame["better"]]
    return frame.astype(dict.fromkeys(_COUNTS, "Int64"))


def no_formula(text: str) -> str:
    """Return a cell's text; one that a spreadsheet would take for a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _rounded(column: pd.Series) -> np.ndarray:
    values = column.to_numpy(float, copy=True)
    there = ~np.isnan(values)  # of most columns few are
    values[there] = [_digits(value) for value in values[there].tolist()]
    return values


def _digits(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.6g}")


def _protocol(result: Result) -> ProtocolResult:
    """Return a board without its sections."""
    record = result.board.record
    return ProtocolResult(
        name=record.name,
        title=record.protocol["title"],
        digest=record.digest,
        cohort=record.cohort,
        protocol=record.protocol,
        command=record.command,
        broken={plugin.name: plugin.error for plugin in record.broken},
        withdrawn=list(record.withdrawn),
        sections=[],
        across=_across(result.across),
    )


def _across(found: Sequence[Across]) -> list[AcrossResult]:
    return [
        AcrossResult(
            track=one.track,
            method=line.method,
            es_dice=_value(line.es),
            mean_rank=line.mean_rank,
            rank_low=line.rank_low,
            rank_high=line.rank_high,
            letters=line.letters,
        )
        for one in found
        for line in one.lines
    ]


def _section(result: Result, section: Section) -> SectionResult:
    board = result.board
    found = Spared().build("Other choices", partial(result.stability, section), None)
    counts = {group: count for group, count in section.counts.items() if group}
    return SectionResult(
        attribute=section.attribute,
        structure=section.structure,
        track=section.track,
        group_samples={group: count[0] for group, count in counts.items()},
        group_patients={group: count[1] for group, count in counts.items()},
        baseline=section.baseline,
        not_computed=section.why,
        methods=[_method(board, row, section.attribute) for row in section.rows],
        equivalence_margin=section.margin,
        enough=[EnoughResult(**_kept(EnoughResult, line)) for line in section.enough],
        unknown=[UnknownResult(**_kept(UnknownResult, line)) for line in section.unknown],
        choices=[ChoiceResult(name=one.name, ranks=one.ranks) for one in found.choices] if found else [],
    )


def _bare(section: Section) -> SectionResult:
    return SectionResult(
        attribute=section.attribute,
        structure=section.structure,
        track=section.track,
        group_samples={},
        group_patients={},
        baseline=section.baseline,
        not_computed=section.why | {"the table": "its rows cannot be written"},
        methods=[],
    )


def _kept(model: type[BaseModel], line: dict[str, Any]) -> dict[str, Any]:
    """Return what a model has of a table's row."""
    return {name: _plain(line[name]) for name in model.model_fields}


def _method(board: Board, row: Row, attribute: str) -> MethodResult:
    done = board.entries[row.method].done(attribute)
    return MethodResult(
        method=row.method,
        title=row.title,
        status=row.status,
        obtained=row.obtained,
        trained=row.trained,
        hyper_parameters_are=words.chosen(board, row.method),
        seeds=list(row.seeds),
        trials=[trial for record in done for trial in board.trials_of(record)],
        trials_planned=row.planned,
        identity=_identity(done[0]) if done else {},
        errors={record.seed: record.error for record in row.errors},
        rank=row.rank,
        rank_low=row.rank_low,
        rank_high=row.rank_high,
        p_best=_digits(row.p_best),
        letters=row.letters,
        scores={metric: _values(numbers) for metric, numbers in row.metrics.items()},
        groups={metric: _values(numbers) for metric, numbers in row.groups.items()},
        **{fact.key: _plain(fact.of(row)) for fact in columns.facts()},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Number):
        return _value(value)
    return _digits(value) if isinstance(value, float) else value


def _identity(record: Record) -> dict[str, str]:
    told = {key: value for key, value in record.identity.items() if key not in ("seed", "starts_from")}
    if record.scoring:
        told["scoring"] = _coded(record.scoring)
    return dict(facts.flat(_coded(told)))


def _coded(told: dict[str, Any]) -> dict[str, Any]:
    """Put one digest for the digests of all files: a large board would list them for each method."""
    code = told.get("code")
    if not isinstance(code, dict):
        return told
    return told | {"code": data_digest(f"{name} {digest}" for name, digest in sorted(code.items()))[:16]}


def _values(numbers: dict[str, Number]) -> dict[str, Value]:
    return {name: _value(number) for name, number in numbers.items()}


def _value(number: Number) -> Value:
    return Value(
        estimate=_digits(number.value),
        low=_digits(number.low),
        high=_digits(number.high),
        note=number.note,
        corrected=_digits(number.corrected),
    )
