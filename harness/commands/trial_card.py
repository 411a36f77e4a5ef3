"""What a person is shown of one trial: ten lines, and then what is behind them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from harness.store import ProtocolRecord, Record, Store

if TYPE_CHECKING:
    import pandas as pd

_OBTAINED = {
    "run": "run here",
    "verified": "verified from predictions",
    "predictions": "predictions only",
    "reported": "self-reported",
}
_DAMAGED = "damaged, as is said beside this"


def card(store: Store, record: Record) -> Iterator[str]:
    """Yield the lines about a trial: ten, and then the scores of every structure, or how it failed."""
    frame = store.spared(store.scores, record.id) if record.status == "done" else None
    attribute = record.attribute or "none, it serves all"
    origin = f"the weights of {record.started_from}" if record.started_from else "the backbone's own weights"
    named = {
        "trial": f"{record.id}, {_ended(record)}",
        "method": _method(record),
        "protocol": f"{record.protocol}; attribute {attribute}; seed {record.seed}",
        "began at": origin,
        "scores": _scores(store, record, frame),
        "by group": _by_group(store, record, frame),
        "cost": _cost(record),
        "machine": _machine(record),
        "obtained": _OBTAINED[record.obtained],
        "files": f"{store.path(record.id)}/",
    }
    for name, said in named.items():
        yield f"{name:9} {' '.join(said.split())}"
    yield ""
    if record.status == "done" and frame is None:
        yield "The scores are damaged."
    elif frame is None:
        yield f"{record.error or 'It failed.'} The log:"
        yield store.log(record.id).rstrip()
    else:
        means = frame.drop(columns="sample").groupby("structure", sort=False).mean()
        yield from means.round(4).to_string().splitlines()


def clock(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds; of less than a minute a tenth is told."""
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def day(finished: str) -> str:
    """Return a record's UTC time as this machine's date and time, "" where it has none."""
    try:
        return datetime.fromisoformat(finished).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def _ended(record: Record) -> str:
    when = f" on {day(record.finished)}" if record.finished else ""
    return f"{record.status}{when}"


def _method(record: Record) -> str:
    values = ", ".join(f"{key}={value}" for key, value in record.method.hyper_parameters.items())
    twin = f", its twin '{record.control}'" if record.control else ""
    needs = "; needs the attribute to predict" if record.method.reads_attribute_at_test else ""
    return f"{record.method.name}{twin}: {record.method.title}" + (f" ({values})" if values else "") + needs


def _scores(store: Store, record: Record, frame: pd.DataFrame | None) -> str:
    if frame is None:
        return "none, it failed" if record.status == "failed" else _DAMAGED
    means = frame.groupby("structure", sort=False)["dice"].mean()
    board = _board(store, record)
    ranked = board.protocol["ranked_by"] if board is not None else ""
    order = sorted(means.index, key=lambda name: name != ranked)
    return "Dice " + ", ".join(f"{name} {means[name]:.4f}" for name in order)


def _by_group(store: Store, record: Record, frame: pd.DataFrame | None) -> str:
    """Return the mean Dice of the structure that ranks by group: of the trial's attribute, or of all."""
    board = _board(store, record)
    if frame is None:
        return "none, it failed" if record.status == "failed" else _DAMAGED
    found = None if board is None else store.spared(store.subjects, board.name, board.groups)
    if board is None or found is None:
        return f"not known: {'no board here has this trial' if board is None else 'its board is damaged'}"
    structure = str(board.protocol["ranked_by"])
    own = frame[frame["structure"] == structure].set_index("sample")["dice"]
    subjects = found.set_index("sample")
    parts = []
    for attribute in [record.attribute] if record.attribute else list(board.groups):
        column = subjects[attribute].reindex(own.index)
        means = {group: own[(column == group).to_numpy()].mean() for group in board.groups[attribute]}
        listed = ", ".join(f"{group} {mean:.4f}" for group, mean in means.items() if mean == mean)
        parts.append(f"{attribute} {listed}")
    return f"Dice of {structure}: " + "; ".join(parts)


def _board(store: Store, record: Record) -> ProtocolRecord | None:
    """Return the board that has a cell for a trial; for one that others start from, its protocol's first."""
    named = (store.spared(store.protocol, key) for key in store.boards_of(record.protocol))
    boards = [board for board in named if board is not None]
    own = [board for board in boards if any(row.trial == record.id for row in board.plan)]
    return next(iter(own or boards), None)


def _cost(record: Record) -> str:
    cost = record.cost
    if record.status != "done":
        return "not recorded of a failure"
    passes = f", {cost.passes:,} passes of a batch" if cost.passes else ""
    memory = f", {cost.peak_memory_bytes / 1e9:.2f} GB at most" if cost.peak_memory_bytes else ""
    cards = f" on {cost.cards} cards" if cost.cards > 1 else ""
    compiling = f" ({clock(cost.compile_seconds)} of it compiling)" if cost.compile_seconds else ""
    return (
        f"{clock(cost.fit_seconds)} training{cards}{compiling}, {clock(cost.predict_seconds)} predicting, "
        f"{clock(cost.score_seconds)} scoring{passes}{memory}, {cost.trained_parameters:,} trained parameters"
    )


def _machine(record: Record) -> str:
    found: dict[str, Any] = record.environment
    where = [record.cost.device, str(found.get("platform", "")), f"{found.get('cpus', '?')} cores"]
    return ", ".join(one for one in where if one)
