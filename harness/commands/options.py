"""Options that several verbs share; a value that no run could use is refused as it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from harness.commands import meaning
from harness.errors import HarnessError

_NUMBER = "(0|[1-9][0-9]{0,2})"
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://?", re.IGNORECASE)
"""The beginning of an address, which a folder could have, as it is or once a path has taken out a slash."""

_DEVICE = re.compile(rf"auto|cpu|mps|cuda(:{_NUMBER}(,{_NUMBER})*)?")

MOST_SEED = 2**63 - 1
"""The largest seed, as in a protocol's file: `harness.protocol` is not imported before it is needed."""


if TYPE_CHECKING:
    _Kind = click.ParamType[Any]
else:
    _Kind = click.ParamType  # generic from click 8.5 on


class Number(click.FloatRange):
    """A number in a range; unlike in its parent, nan is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or fail with one sentence."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class Seed(_Kind):
    """One seed: a whole number from 0 to 2^63 - 1."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number. Raises HarnessError, one sentence, for anything else."""
        return value if isinstance(value, int) else _seed(value, _flag(param))


class Seeds(_Kind):
    """Several seeds, with commas between them, each once."""

    name = "seeds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers. Raises HarnessError, one sentence, for what is not seeds."""
        if isinstance(value, tuple):
            return value
        found = tuple(
            _seed(part.strip(), f"{_flag(param)} {value}", several=True) for part in value.split(",")
        )
        twice = next((seed for seed in found if found.count(seed) > 1), None)
        if twice is not None:
            raise HarnessError(f"{_flag(param)} {value}: the seed {twice} stands twice; give each once.")
        return found


class Device(_Kind):
    """The word for a device; whether the machine has it, only torch can tell."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word. Raises HarnessError, one sentence, for one that is no device of ours."""
        if not _DEVICE.fullmatch(value):
            found = meaning.meant(value, ("auto", "cpu", "cuda", "cuda:0"), meaning.DEVICES)
            hint = f" Did you mean '{found}'?" if found else ""
            raise HarnessError(
                f"--device {value}: there is no such device; give auto, cpu, cuda or cuda:N, N the number of "
                f"a GPU.{hint}"
            )
        numbers = value.removeprefix("cuda:").split(",")
        twice = next((one for one in numbers if numbers.count(one) > 1), None)
        if twice is not None:
            raise HarnessError(f"--device {value}: the GPU {twice} stands twice; give each once, and --jobs.")
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the devices that begin so."""
        return [
            CompletionItem(one) for one in ("auto", "cpu", "cuda", "cuda:0") if one.startswith(incomplete)
        ]


class Slice(_Kind):
    """How many samples of a batch are held at a time: a whole number, 0 for all, or auto."""

    name = "slice"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Return the number, None for auto. Raises HarnessError, one sentence, for anything else."""
        if value is None or isinstance(value, int):
            return value
        if value == "auto":
            return None
        if re.fullmatch("[0-9]{1,6}", value) is None:
            raise HarnessError(f"{_flag(param)} {value}: give a whole number of samples, 0 for all, or auto.")
        return int(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the one word that it may be."""
        return [CompletionItem("auto")] if "auto".startswith(incomplete) else []


class Folder(_Kind):
    """A folder, there or not; never a file. `must_exist`: nor one that is not there."""

    name = "folder"

    def __init__(self, fix: str, must_exist: bool = False) -> None:
        self.fix, self.must_exist = fix, must_exist

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. Raises HarnessError, one sentence, for one that cannot be used."""
        path = Path(value)
        if not str(value):
            raise HarnessError(f"{_flag(param)}: is empty; {self.fix}.")
        if found := _ADDRESS.match(str(value)):
            # As a path it would be a folder named `s3:` here, in which nobody looks.
            raise HarnessError(
                f"{_flag(param)} {value}: an address, and {found[1]} renames no folder whole, on which all "
                f"that is kept here relies (docs/cluster.md); {self.fix}, and copy what is finished to there."
            )
        if path.is_file():
            raise HarnessError(f"{_flag(param)} {path}: a file; {self.fix}.")
        if self.must_exist and not path.is_dir():
            raise HarnessError(f"{_flag(param)} {path}: there is no such folder; {self.fix}.")
        return path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leave it to the shell, which knows the folders."""
        return [CompletionItem(incomplete, type="dir")]


class Choice(_Kind):
    """One of a few words, with what is meant by another."""

    name = "choice"

    def __init__(self, words: dict[str, str]) -> None:
        self.words = words

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return the words, as `--help` shows them."""
        return f"{{{'|'.join(self.words)}}}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or fail with one sentence that says which was meant."""
        if value in self.words:
            return str(value)
        found = meaning.meant(value, self.words, self.words)
        hint = f" Did you mean '{found}'?" if found else f" Give {', '.join(self.words)}."
        raise click.UsageError(f"There is nothing called '{value}' to list.{hint}", ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the words that begin so."""
        return [CompletionItem(one) for one in self.words if one.startswith(incomplete)]


class Named(_Kind):
    """The name of something that lies in a folder, or a path: completed in the shell, checked by the verb."""

    name = "text"

    def __init__(self, known: Callable[[], list[str]]) -> None:
        self.known = known

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin so, then whatever files the shell knows."""
        names = [CompletionItem(one) for one in self.known() if one.startswith(incomplete)]
        return names or [CompletionItem(incomplete, type="file")]


def _methods() -> list[str]:
    from harness.plugin.discovery import discover

    return list(discover())


def _protocols() -> list[str]:
    from harness.protocol import shipped

    return list(shipped())


METHOD = Named(_methods)
PROTOCOL_NAME = Named(_protocols)


def _seed(text: str, flag: str, several: bool = False) -> int:
    said = flag if several else f"{flag} {text}"
    if re.fullmatch("-?[0-9]+", text) is None:
        raise HarnessError(
            f"{said}: give whole numbers with commas between them: 0,1,2."
            if several
            else f"{said}: give a whole number."
        )
    if len(text) > len(str(MOST_SEED)) or not 0 <= int(text) <= MOST_SEED:
        raise HarnessError(f"{said}: {text} is no seed; a seed is a whole number from 0 to 2^63 - 1.")
    return int(text)


def _flag(param: click.Parameter | None) -> str:
    return param.opts[0] if param is not None else "the seed"


def _cache_default() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("equity-leaderboard")


RUNS = click.option(
    "--runs",
    type=Folder("give the folder of the records"),
    default=Path("runs"),
    show_default=True,
    help="Folder of records.",
)
CACHE = click.option(
    "--cache",
    type=Folder("give a folder for weights, cohorts and embeddings"),
    default=_cache_default,
    envvar="HARNESS_CACHE",
    help="Folder of weights, cohorts and embeddings.  [default: the user's cache folder; env: HARNESS_CACHE]",
)
PROTOCOL = click.option(
    "--protocol",
    type=PROTOCOL_NAME,
    default="quick",
    show_default=True,
    help="Name of a shipped protocol, or a .toml file.",
)
SEEDS = click.option("--seeds", type=Seeds(), metavar="0,1,2", help="Seeds instead of the protocol's.")
DEVICE = click.option(
    "--device",
    type=Device(),
    default="auto",
    show_default=True,
    help="auto, cpu, cuda (all GPUs), cuda:N or cuda:N,M.",
)
JOBS = click.option(
    "--jobs", type=click.IntRange(1), help="Trials at a time.  [default: one a GPU, or by CPU cores]"
)
DATA = click.option(
    "--data",
    type=Folder("give the folder of the cohort's files", must_exist=True),
    help="Folder of the cohort's files.",
)
