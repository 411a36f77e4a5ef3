"""What a command was asked for, made sure of before anything heavy is imported."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.plugin.discovery import Plugin
    from harness.protocol import Protocol
    from harness.running.queue import Watcher
    from harness.store import Store, Tuned


def protocol(name_or_file: str) -> Protocol:
    """Return the protocol. Raises HarnessError for one that is not there or does not fit."""
    from harness.protocol import load

    if name_or_file not in _shipped() and not name_or_file.endswith(".toml"):
        if Path(name_or_file).is_file():
            raise HarnessError(f"{name_or_file}: a protocol's file is TOML and ends in .toml; rename it.")
        if name_or_file in _discovered():
            raise HarnessError(f"'{name_or_file}' is a method and no protocol.{did_you_mean('', _shipped())}")
    return load(name_or_file)


def executor(name: str, config: Path | None, given: Sequence[str]) -> Any:
    """Return an executor's options. Raises HarnessError for one that is not there, or does not know them."""
    from harness.running import executors

    return executors.options(name, config, given)


def watchers(names: Sequence[str]) -> list[Callable[[Store], Watcher]]:
    """Return what makes the watchers that are named. Raises HarnessError for one that is not there."""
    from harness.running.watchers import find

    return [find(name) for name in names]


def methods(
    names: Sequence[str],
    everything: bool,
    verb: str,
    seeds: Sequence[int] | None = None,
    attributes: Sequence[str] = (),
    under: Protocol | None = None,
) -> list[Plugin]:
    """Return the methods that are named, none where all are asked for; no file of theirs is imported.

    Raises HarnessError for a name that is none, saying what it is instead: one of several seeds, an
    attribute, a protocol.
    """
    from harness.plugin import discovery

    if bool(names) == everything:
        raise HarnessError(f"Name the methods to {verb}, or give --all (harness list methods shows them).")
    for name in names:
        _is_no_method(name, names, seeds, attributes, under)
    return discovery.distinct([discovery.find(name) for name in names])


def attributes(given: Sequence[str], under: Protocol) -> tuple[str, ...]:
    """Return the attributes that are asked for, in the protocol's order; all where none is named.

    Raises HarnessError for one that the protocol does not have, or that is named twice.
    """
    for name in given:
        if name not in under.attributes:
            apart = [part.strip() for part in name.split(",")]
            if len(apart) > 1 and all(part in under.attributes for part in apart):
                said = " ".join(f"--attribute {part}" for part in apart)
                raise HarnessError(f"--attribute {name}: name them one by one: {said}.")
            raise HarnessError(
                f"--attribute {name}: the protocol '{under.name}' has no such attribute."
                f"{did_you_mean(name, under.attributes)}"
            )
    twice = next((name for name in given if list(given).count(name) > 1), None)
    if twice is not None:
        raise HarnessError(f"--attribute {twice}: stands twice; name each once.")
    return tuple(name for name in under.attributes if name in given) or tuple(under.attributes)


def training(under: Protocol, data: Path | None, cache: Path, device: str) -> None:
    """Make sure of the cohort, the weights and the device that a training needs, the cheapest first.

    Raises HarnessError for a cohort or weights that are not there, and for a GPU that is not.
    """
    from harness import backbones, cohorts
    from harness.backbones import weights

    backbones.check_name(under.backbone)
    name = weights.required(under.backbone)
    if name is not None:
        weights.check_there(name, cache)
    cohorts.check(under, data)
    if device not in ("auto", "cpu"):
        # Only torch can tell; better now than after hours of reading a cohort.
        from harness.training.device import resolve_device

        resolve_device(device)


def tuned(file: Path, under: Protocol) -> dict[str, Tuned]:
    """Return what `harness tune` chose. Raises HarnessError for a file that is not of this protocol."""
    if not file.is_file():
        said = "a folder" if file.is_dir() else "No such file or directory"
        raise HarnessError(f"{file}: {said}; harness tune writes this file.")
    from harness.running.tune import read_for

    return read_for(file, under)


def engine() -> None:
    """Raise HarnessError where no Docker engine answers: nothing can be sandboxed."""
    from harness.sandbox import engine

    engine.connect()


def _is_no_method(
    name: str,
    names: Sequence[str],
    seeds: Sequence[int] | None,
    attributes: Sequence[str],
    under: Protocol | None,
) -> None:
    """Raise HarnessError where a name is something else that stands where a method's name belongs."""
    known = _discovered()
    if name in known:
        return
    if name.isascii() and name.isdigit():
        more = [one for one in names if one.isascii() and one.isdigit() and one not in known]
        listed = ",".join([*map(str, seeds or ()), *more])
        raise HarnessError(
            f"'{name}' is no method; several seeds have commas between them and no blanks: --seeds {listed}."
        )
    if under is not None and name in under.attributes:
        more = [one for one in names if one in under.attributes]
        said = " ".join(f"--attribute {shlex.quote(one)}" for one in dict.fromkeys([*attributes, *more]))
        raise HarnessError(f"'{name}' is an attribute of '{under.name}' and no method: give {said}.")
    if name in _shipped() or name.endswith(".toml"):
        raise HarnessError(f"'{name}' is a protocol and no method: give --protocol {shlex.quote(name)}.")


def _discovered() -> list[str]:
    from harness.plugin.discovery import discover

    return list(discover())


def _shipped() -> list[str]:
    from harness.protocol import shipped

    return list(shipped())
