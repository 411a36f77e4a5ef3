"""What the method and protocol pages show beyond the board's tables: facts of the records, not scores."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness import equity
from harness.identity import data_digest
from harness.store import MethodInfo
from harness.store.names import PREDICTIONS
from leaderboard.compute import words
from leaderboard.compute.sections import Section
from leaderboard.read.boards import Board, Entry, readable


@dataclass(frozen=True)
class HyperParameter:
    """A keyword argument of the method as it ran."""

    name: str
    value: str
    default: str
    changed: bool


def hyper_parameters(info: MethodInfo) -> list[HyperParameter]:
    """Return the hyper-parameters, those that differ from their default marked."""
    return [
        HyperParameter(
            name, repr(value), repr(info.defaults.get(name)), value != info.defaults.get(name, value)
        )
        for name, value in info.hyper_parameters.items()
    ]


def command(board: Board, method: str) -> str:
    """Return the command that runs a method's trials again; capitals stand for what the reader must give."""
    longer = [name for name, twin in board.twins.items() if twin == method]
    if longer:  # ERM's twin runs with whatever method it is the twin of
        method = longer[0]
    entry = board.entries[method]
    if any(entry.obtained(attribute) == "predictions" for attribute in board.attributes):
        return with_data(board, f"harness submit --predictions FILE --protocol {shlex.quote(board.name)}")
    here = all(entry.obtained(attribute) in ("run", None) for attribute in board.attributes)
    # A submitted method stands here under its namespace, which is no part of its file's name.
    file = method.partition(".")[2] if method in board.record.arrivals else method
    parts = ["harness run", shlex.quote(method) if here else f"path/to/{shlex.quote(file)}.py"]
    parts.append(f"--protocol {shlex.quote(board.name)}")
    if method in board.record.tuned:
        parts.append("--tuned TUNED.json")
    return with_data(board, " ".join(parts))


def origins(board: Board, entry: Entry) -> list[tuple[str, str, bool]]:
    """Return where a method's row comes from, as (what, value, whether that is a digest).

    Of a submission when it came first, what was packed and who signed it; of every method the digest of its
    predictions, and which others have the same predictions or the same source under another name.
    """
    found = []
    if arrival := board.record.arrivals.get(entry.name):
        found += [("First on this board", arrival.when, False), ("Packed as", arrival.digest, True)]
        found.append(("Signed by", arrival.key or "nobody", bool(arrival.key)))
    if predictions := _predictions(entry):
        found.append(("Predictions", data_digest(sorted(predictions)), True))
    alike = {
        "Same predictions as": {name for one in predictions for name in board.with_predictions[one]},
        "Same source as": board.with_source.get(entry.info.source_digest, set()),
    }
    for what, names in alike.items():
        if others := sorted(names - {entry.name}):
            found.append((what, readable(", ".join(others)), False))
    return found


def _predictions(entry: Entry) -> set[str]:
    records = [record for record in entry.records.values() if record is not None]
    return {digest for one in records if (digest := one.files.get(PREDICTIONS))}


def with_data(board: Board, command: str) -> str:
    """Return a command with the option that names the cohort's files, where it has some."""
    own = board.record.protocol["cohort"]["source"] == "synthetic" or "--data" in command
    return command if own else f"{command} --data DATA"


def newest(board: Board) -> str:
    """Return the day on which the newest trial ended, "" without any."""
    records = [record for entry in board.entries.values() for record in entry.records.values()]
    return max((record.finished[:10] for record in records if record is not None), default="")


def flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return the leaves of nested tables as (`recipe.finetune.epochs`, "3")."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    return str(value) if value != "" else "–"


def demographics(board: Board) -> dict[str, list[tuple[str, list[tuple[int, int]]]]]:
    """Return attribute -> (group, samples and patients for each split of `splits`)."""
    tables = {}
    for attribute, groups in board.record.groups.items():
        column = board.subjects[attribute]
        masks = [(group, column == group) for group in groups] + [("unknown", column.isna())]
        tables[attribute] = [
            (group, [_counts(board, mask, split) for split in splits(board)]) for group, mask in masks
        ]
    return tables


def splits(board: Board) -> list[str]:
    """Return the splits that there are, training first."""
    found = set(board.subjects["split"])
    return [split for split in ("train", "validation", "test") if split in found]


def _counts(board: Board, mask: Any, split: str) -> tuple[int, int]:
    own = board.subjects[mask & (board.subjects["split"] == split)]
    return len(own), int(own["patient"].nunique())


def detectable(sections: list[Section]) -> list[tuple[str, str, list[tuple[str, int, float]]]]:
    """Return attribute, structure and each group's patients and smallest gap that can be seen.

    It is the gap of one group to all others that the test set shows above the noise floor with probability
    0.8, for the baseline's spread of scores, or the first method's where the baseline has none.
    """
    found = []
    for section in sections:
        noise = section.tables["dice"].noise if section.ranked else None
        if noise is None:
            continue
        methods = [row.method for row in section.ranked]
        whose = section.baseline if section.baseline in methods else methods[0]
        own = noise[(noise["method"] == whose) & (noise["quantity"] == "gap") & noise["detectable"].notna()]
        rows = [
            (str(group), int(patients), float(gap))
            for group, patients, gap in zip(own["group"], own["patients"], own["detectable"], strict=True)
            if group
        ]
        if rows:
            found.append((section.attribute, section.structure, rows))
    return found


def environments(board: Board) -> list[tuple[str, list[str]]]:
    """Return each fact of the environment and provenance with the values that the trials had."""
    facts: dict[str, dict[str, None]] = {}
    for entry in board.entries.values():
        for record in entry.records.values():
            if record is not None:
                for key, value in flat({"": record.environment, "git": record.provenance}):
                    facts.setdefault(key.removeprefix("."), {})[value] = None
    return [(key, sorted(values)) for key, values in facts.items()]


def identity(board: Board) -> list[tuple[str, str]]:
    """Return what is hashed into the id of the board's first trial."""
    for entry in board.entries.values():
        for record in entry.records.values():
            if record is not None:
                return list(flat(record.identity))
    return []


def limits(board: Board) -> list[str]:
    """Return what the board cannot say."""
    found = []
    if len(board.seeds) == 1:
        found.append("One seed: intervals speak of these trainings alone, and another may differ.")
    elif len(board.seeds) < 5:
        found.append(
            f"{len(board.seeds)} seeds: the variance between trainings is estimated from few values, and the "
            "intervals are widened for it."
        )
    if board.n_folds > 1:
        found.append(
            f"Patients are tested in {board.n_folds} folds, dealt anew under each seed: what a training set "
            "does to a model is in the intervals as what a seed does. All trainings share one cohort; what "
            "another cohort would have taught them is in no interval (Bengio and Grandvalet, JMLR 2004)."
        )
    few = [
        f"{words.isolated(group)} ({attribute}, {words.counted(count, 'patient')})"
        for attribute, rows in demographics(board).items()
        for group, counts in rows
        if group != "unknown" and (count := counts[splits(board).index("test")][1]) < equity.MIN_PATIENTS
    ]
    if few:
        found.append(f"Too few test patients to say anything about: {', '.join(few)}.")
    if (
        board.record.cohort.get("source") == "synthetic"
        or board.record.protocol["cohort"]["source"] == "synthetic"
    ):
        found.append("The cohort is synthetic: it tests the methods' mechanics and says nothing of patients.")
    found += [
        f"{words.counted(count, 'patient')} {'is' if count == 1 else 'are'} in more than one group by "
        f"{attribute}, and count{'s' if count == 1 else ''} as one in each."
        for attribute in board.attributes
        if (count := int((board.test.groupby("patient")[attribute].nunique() > 1).sum()))
    ]
    untuned = [
        name
        for name, entry in board.entries.items()
        if entry.info.hyper_parameters and name not in board.record.tuned
    ]
    if board.record.tuned and untuned:
        found.append(
            f"Not tuned, while others were: {', '.join(untuned)}. What sets them apart may be the tuning and "
            "not the method."
        )
    found.append(
        "The test set is one sample of one population; intervals speak of patients like these and not of "
        "other hospitals, devices or annotators."
    )
    found.append("Groups are as the cohort recorded them; nobody was asked again.")
    found.append(
        "Where the cohort is synthetic or public, a submission can bring the answers along, and verification "
        "would not notice; nor would a sandbox, of a method that trains its own model and so sees the test "
        "images: read the source. A row trained by the harness, here, saw no test image."
    )
    return found
