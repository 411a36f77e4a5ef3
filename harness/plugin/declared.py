"""What a method declares of itself, as data, and that its declarations fit each other."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from packaging.requirements import Requirement
from pydantic import TypeAdapter, ValidationError

from harness import identity
from harness.errors import HarnessError, did_you_mean
from harness.plugin import asks, written
from harness.store.values import check, unseen

if TYPE_CHECKING:
    from harness.plugin.discovery import Plugin
    from harness.plugin.method import Card, Given, Method, Range, Sampler

MOST_ERROR = 2_000
"""Characters of a word of a method, and of the sentence that says why a plugin is broken."""

KINDS: dict[str, type] = {kind.__name__: kind for kind in (bool, int, float, str)}
"""Types of hyper-parameters that a value from a protocol file is fitted to."""


@dataclass(frozen=True)
class About:
    """What a method says of itself, as data: enough to plan its trials without importing it again.

    defaults: hyper-parameters; kinds: those annotated as one of `KINDS`; adapts: whether it has layers of its
    own; packages: what `requires` names, to the version installed where the method runs; weighs_samples and
    mixes: whether it has these hooks; the rest are `Method`'s class attributes.
    """

    card: Card
    defaults: dict[str, Any]
    kinds: dict[str, str] = field(default_factory=dict)
    reads_attribute: bool = True
    starts_from: str | None = None
    sampler: Sampler = "uniform"
    trains_own_model: bool = False
    reads_attribute_at_test: bool = False
    adapts: bool = False
    controls: dict[str, dict[str, Any]] = field(default_factory=dict)
    search: dict[str, Range] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    takes: Given = "weights"
    sharpness: str | None = None
    averages_from: str | None = None
    weighs_samples: bool = False
    mixes: bool = False

    @property
    def is_taught(self) -> bool:
        """Whether it is given the logits of the model that it starts from."""
        return self.starts_from is not None and self.takes != "weights"

    @property
    def finetunes(self) -> bool:
        """Whether it begins with the weights of the model that it starts from."""
        return self.starts_from is not None and self.takes != "logits"

    @property
    def passes(self) -> int:
        """How often a batch goes through a network in one step."""
        return 1 + (self.sharpness is not None) + self.is_taught


def of(method: type[Method], plugin: Plugin) -> About:
    """Return what a loaded method says of itself.

    Raises HarnessError for a hyper-parameter without default, or whose default is not JSON.
    """
    _check_json(method, plugin)
    said = About(
        card=method.card,
        defaults=hyper_parameters(method, plugin),
        kinds=_kinds(method),
        reads_attribute=method.reads_attribute,
        starts_from=method.starts_from,
        sampler=method.sampler,
        trains_own_model=method.trains_own_model,
        reads_attribute_at_test=method.reads_attribute_at_test,
        adapts=adapts(method),
        controls={name: dict(values) for name, values in method.controls.items()},
        search=dict(method.search),
        packages=_packages(plugin.file),
        takes=method.takes,
        sharpness=method.sharpness,
        averages_from=method.averages_from,
        weighs_samples=has_hook(method, "sampling_weights"),
        mixes=has_hook(method, "mix"),
    )
    check_texts(said, plugin)
    check_asked(said, plugin)
    return said


def has_hook(method: type[Method], hook: str) -> bool:
    """Tell whether a method has one of the hooks that the harness calls only where there is one."""
    from harness.plugin.method import Method

    return getattr(method, hook) is not getattr(Method, hook)


def check_asked(about: About, plugin: Plugin) -> None:
    """Raise HarnessError where what a method asks of the training contradicts itself."""
    for name in ("sharpness", "averages_from"):
        named = getattr(about, name)
        if named is not None and named not in about.defaults:
            raise HarnessError(
                f"{plugin.file}: {name} names '{named}', which is none of its hyper-parameters."
                f"{did_you_mean(named, about.defaults)}"
            )
    asks.of(about, about.defaults, str(plugin.file))
    if about.takes != "weights" and about.starts_from is None:
        raise HarnessError(f"{plugin.file}: takes '{about.takes}' of no method; name one in starts_from.")
    if about.weighs_samples and about.sampler != "uniform":
        raise HarnessError(
            f"{plugin.file}: has sampling_weights and the sampler '{about.sampler}'; they draw the same "
            "samples, so leave one of them out."
        )


def check_texts(about: About, plugin: Plugin) -> None:
    """Raise HarnessError for a word of a method that no record could hold, or that would move a cursor.

    The lines of a card may end; names and hyper-parameters are within one.
    """
    card = vars(about.card)
    odd = [name for name, text in card.items() if not isinstance(text, str) or len(text) > MOST_ERROR]
    odd += [name for name, text in card.items() if name not in odd and unseen(text, "\n\t")]
    if odd:
        raise HarnessError(
            f"{plugin.file}: card.{odd[0]} is a text of up to {MOST_ERROR} characters, all of which are seen."
        )
    words = [about.starts_from or "", *_texts([about.defaults, about.controls])]
    if any(unseen(text) or len(text) > MOST_ERROR for text in words):
        raise HarnessError(
            f"{plugin.file}: a hyper-parameter, a control or starts_from is an endless text, or holds what "
            "would move a terminal's cursor."
        )


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in nested values, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in _texts(part))


def _packages(file: Path) -> dict[str, str]:
    """Return the version of each package that a loaded method requires."""
    names = [Requirement(text).name for text in written.requirements(file)]
    return {name: version(name) for name in names}


def hyper_parameters(method: type[Method], plugin: Plugin) -> dict[str, Any]:
    """Return the defaults of a method's keyword arguments, from its signature.

    Raises HarnessError for one without a default.
    """
    parameters = list(inspect.signature(method.__init__).parameters.values())[2:]
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty:
            raise HarnessError(
                f"{plugin.file}: {method.__name__}.__init__ takes '{parameter.name}' without a default; "
                "give every hyper-parameter one."
            )
    return {parameter.name: parameter.default for parameter in parameters}


def check_hyper_parameters(about: About, plugin: Plugin, given: dict[str, Any], where: str) -> dict[str, Any]:
    """Return defaults overlaid with `given`, each value fitted to its annotation.

    Raises HarnessError naming `where` for an unknown name or a value of the wrong type.
    """
    values = dict(about.defaults)
    for name, value in given.items():
        if name not in values:
            raise HarnessError(f"{where}: {plugin.name} has no '{name}'.{did_you_mean(name, values)}")
        try:
            values[name] = TypeAdapter(KINDS.get(about.kinds.get(name, ""), Any)).validate_python(value)
        except ValidationError as error:
            raise HarnessError(
                f"{where}: {plugin.name}.{name} = {value!r}: {error.errors()[0]['msg']}."
            ) from None
    return values


def check_search(method: type[Method], defaults: dict[str, Any], plugin: Plugin) -> None:
    """Raise HarnessError for a range of what is no hyper-parameter, or no number."""
    for name in method.search:
        if name not in defaults:
            raise HarnessError(
                f"{plugin.file}: {method.__name__}.search names '{name}', which is none of its "
                f"hyper-parameters.{did_you_mean(name, defaults)}"
            )
        if isinstance(defaults[name], bool) or not isinstance(defaults[name], int | float):
            raise HarnessError(
                f"{plugin.file}: {method.__name__}.search has a range for '{name}', which is not a number."
            )


def check_attributes(method: type[Method], defaults: dict[str, Any], plugin: Plugin) -> None:
    """Raise HarnessError for class attributes that do not fit: they would be ignored in silence."""
    from harness.plugin.method import Given, Sampler

    samplers, name = get_args(Sampler), method.__name__
    if method.sampler not in samplers:
        raise HarnessError(
            f"{plugin.file}: {name}.sampler = {method.sampler!r} is no sampler."
            f"{did_you_mean(str(method.sampler).lower(), samplers)}"
        )
    if method.takes not in get_args(Given):
        raise HarnessError(
            f"{plugin.file}: {name}.takes is {', '.join(get_args(Given))}, not {method.takes!r}."
        )
    for attribute in ("sharpness", "averages_from"):
        if not isinstance(getattr(method, attribute), str | None):
            raise HarnessError(
                f"{plugin.file}: {name}.{attribute} is the name of a hyper-parameter, or None: give the "
                f"number as its default, `def __init__(self, task, {attribute}=...)`."
            )
    if not isinstance(method.reads_attribute, bool):
        raise HarnessError(f"{plugin.file}: {name}.reads_attribute is True or False.")
    if not isinstance(method.trains_own_model, bool):
        raise HarnessError(f"{plugin.file}: {name}.trains_own_model is True or False.")
    _check_own_model(method, plugin)
    if not isinstance(method.starts_from, str | None):
        raise HarnessError(f"{plugin.file}: {name}.starts_from is the name of a method, or None.")
    for control, values in method.controls.items():
        for key in values:
            if key not in defaults:
                raise HarnessError(
                    f"{plugin.file}: {name}.controls['{control}'] names '{key}', which is none of its "
                    f"hyper-parameters.{did_you_mean(key, defaults)}"
                )


def adapts(method: type[Method]) -> bool:
    """Tell whether a method has layers of its own."""
    from harness.plugin.method import Method

    return method.adapt is not Method.adapt


def _check_own_model(method: type[Method], plugin: Plugin) -> None:
    """Raise HarnessError where a method of the first tier does what only the second may."""
    from harness.plugin.method import Method

    name, at_test = method.__name__, method.reads_attribute_at_test
    if at_test is not written.reads_at_test(identity.read(plugin.file), str(plugin.file)):
        raise HarnessError(
            f"{plugin.file}: {name}.reads_attribute_at_test is True or False, written out once in the body "
            "of the class."
        )
    if at_test and not method.reads_attribute:
        raise HarnessError(f"{plugin.file}: {name}.reads_attribute_at_test needs reads_attribute = True.")
    second = {
        "reads_attribute_at_test = True": at_test,
        "adapt": adapts(method),
        "calibrate": method.calibrate is not Method.calibrate,
    }
    told = [what for what, there in second.items() if there]
    if told and not method.trains_own_model:
        raise HarnessError(
            f"{plugin.file}: {name} has {told[0]}, which a loss cannot say; add `trains_own_model = True`."
        )


def _check_json(method: type[Method], plugin: Plugin) -> None:
    told = {"": hyper_parameters(method, plugin)} | {k: dict(v) for k, v in method.controls.items()}
    for control, given in told.items():
        for name, value in given.items():
            try:
                check({name: json.loads(json.dumps(value, allow_nan=False))})
            except (TypeError, ValueError, RecursionError):
                place = f"controls['{control}']: " if control else "the default of "
                raise HarnessError(
                    f"{plugin.file}: {method.__name__}: {place}'{name}' is {value!r}, which no record can "
                    "hold; use numbers, texts, booleans, None or lists of them."
                ) from None


def _kinds(method: type[Method]) -> dict[str, str]:
    # Not evaluated: annotations may name what is imported under TYPE_CHECKING alone.
    hints = {name: getattr(h, "__name__", h) for name, h in method.__init__.__annotations__.items()}
    return {name: hint for name, hint in hints.items() if name != "return" and hint in KINDS}
