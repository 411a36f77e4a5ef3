"""Where trials run: executors of the shape of `concurrent.futures.Executor`, found by name, told by options.

`harness.executors` is the group of entry points in which a package may bring another: NAME = "module", which
has `Options`, a dataclass whose fields are what `--set` and `[executor.NAME]` may say, and
`make(asked, options)`. What that returns may have, beside an executor's own methods,

- `slots`: tasks that run at a time, and `window`: tasks that it is given at a time;
- `flush()`: called after some were submitted;
- `stop(seconds)`: ends what runs, and lets it keep what it has;
- `submit_after(future, function, *arguments)`: a task that starts once another has ended.
"""

from __future__ import annotations

import dataclasses
import importlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, did_you_mean, refused

if TYPE_CHECKING:
    import torch

GROUP = "harness.executors"

_OWN = {name: f"harness.running.executors.{name}" for name in ("local", "slurm", "ray")}


@dataclass(frozen=True)
class Asked:
    """What a run tells an executor beside its options.

    jobs: tasks at a time, None for as many as it sees fit; threads: of a task; preload: modules that every
    task imports; runs: the folder of records; seconds: how long a task may take, None for any time; peak:
    bytes of a GPU that a trial of this kind took before, 0 where nothing tells; cards: numbers of the GPUs to
    use, where not all; each: cards that a task has to itself.
    """

    device: torch.device
    jobs: int | None
    threads: int
    preload: Sequence[str]
    runs: Path
    seconds: float | None = None
    peak: int = 0
    cards: Sequence[int] = ()
    each: int = 1


def names() -> list[str]:
    """Return the names of the executors that there are."""
    return sorted({*_OWN, *(entry.name for entry in entry_points(group=GROUP))})


def find(name: str) -> Any:
    """Return the module of an executor. Raises HarnessError for none, or one without its library."""
    others = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    module = _OWN.get(name) or others.get(name)
    if module is None:
        raise HarnessError(f"--executor {name}: there is no such executor.{did_you_mean(name, names())}")
    try:
        found = importlib.import_module(module)
        missing = next((one for one in getattr(found, "NEEDS", ()) if find_spec(one) is None), None)
    except ModuleNotFoundError as error:
        found, missing = None, error.name
    if missing is not None:
        raise HarnessError(
            f"--executor {name}: {missing} is not installed; pip install 'equity-leaderboard[{name}]'."
        )
    return found


def options(name: str, config: Path | None, given: Sequence[str]) -> Any:
    """Return an executor's options: `[executor.NAME]` of a TOML file, and over that `key=value`s.

    Raises HarnessError, one sentence, for what is no option of it or has no value that fits.
    """
    kind = find(name).Options
    table = {} if config is None else _table(config, name)
    known = {field.name: field for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for where, key, value in [
        *((f"{config}: [executor.{name}]", key, value) for key, value in table.items()),
        *_pairs(given),
    ]:
        if key not in known:
            raise HarnessError(
                f"{where} {key}: the executor '{name}' has no such option.{did_you_mean(key, known)}"
            )
        values[key] = _value(value, known[key].default, f"{where} {key}")
    return kind(**values)


def _table(config: Path, name: str) -> Mapping[str, Any]:
    try:
        whole = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{refused(error)}; --executor-config is a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{config}: {error}; it is to be TOML with a table [executor.{name}].") from None
    tables = whole.get("executor")
    table = tables.get(name) if isinstance(tables, dict) else None
    if not isinstance(table, dict):
        raise HarnessError(f"{config}: has no table [executor.{name}]; write one, or leave the file out.")
    return table


def _pairs(given: Sequence[str]) -> list[tuple[str, str, str]]:
    found = []
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise HarnessError(f"--set {text}: give an option and its value, as in --set partition=gpu.")
        found.append(("--set", key.strip().replace("-", "_"), value.strip()))
    return found


def _value(value: Any, default: Any, where: str) -> Any:
    """Return a value as the type of its default, which of a text in `--set` is read."""
    kind = type(default)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, int) and kind is float:
        return float(value)
    if isinstance(value, str) and kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    what = {int: "a whole number", float: "a number", str: "a text"}[kind]
    raise HarnessError(f"{where}: {value!r} is not {what}.")
