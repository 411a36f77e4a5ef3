"""Finding methods by their doors: the methods folder, `methods/` where one is, an entry point, a path."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from packaging.requirements import Requirement
from pydantic import TypeAdapter, ValidationError

from harness import identity
from harness.errors import HarnessError, did_you_mean, plain
from harness.plugin import asks, naming, requires
from harness.store.values import check, unseen

if TYPE_CHECKING:
    from harness.plugin.method import Card, Given, Method, Range, Sampler

ENTRY_POINTS = "harness.methods"

T = TypeVar("T")

MOST_ERROR = 2_000
"""Characters of the sentence that says why a plugin is broken."""

KINDS: dict[str, type] = {kind.__name__: kind for kind in (bool, int, float, str)}
"""Types of hyper-parameters that a value from a protocol file is fitted to."""


@dataclass(frozen=True)
class Plugin:
    """A method's name and file, found but not yet imported."""

    name: str
    file: Path


@dataclass(frozen=True)
class Broken:
    """A plugin that cannot be used: one sentence with the line at fault, and the traceback."""

    plugin: Plugin
    error: str
    trace: str


def discover() -> dict[str, Plugin]:
    """Return the plugins of the methods folders and of the entry points, by name.

    The folders are that of the `methods` package and, below the working directory, `methods/`: there
    `harness new` puts a method away from a clone. Raises HarnessError where two files have one name.
    """
    return {plugin.name: plugin for plugin in distinct([*_in_folders(), *_in_packages()])}


def distinct(found: Sequence[Plugin]) -> list[Plugin]:
    """Return each plugin once. Raises HarnessError for two files of one name."""
    by_name: dict[str, Plugin] = {}
    for plugin in found:
        other = by_name.setdefault(plugin.name, plugin)
        if other.file.resolve() != plugin.file.resolve():
            raise HarnessError(
                f"{other.file} and {plugin.file} are both the method '{plugin.name}'; rename one of them."
            )
    return list(by_name.values())


def _in_folders() -> Iterator[Plugin]:
    packages = [file for folder in identity.method_folders() for file in _files(folder)]
    yield from (Plugin(_name(file), file) for file in packages)
    here = Path(identity.METHODS).resolve()
    if here.is_dir() and here not in identity.method_folders():
        shipped = {file.name: file.read_bytes() for file in packages}
        for file in _files(here):
            text = _head(file)
            # Any project may have a folder of this name, and this may be another clone: what never says
            # "harness" is no method, and what is shipped is no second one.
            if b"harness" in text and text != shipped.get(file.name):
                yield Plugin(_name(file), file)


def _files(folder: Path) -> list[Path]:
    # A pipe of this name would be waited for, a folder cannot be read.
    found = (file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_"))
    return [file for file in found if file.is_file()]


def _head(file: Path) -> bytes:
    """Return as much of a file as a method's can be; of one that cannot be read what keeps it listed."""
    try:
        with file.open("rb") as opened:
            return opened.read(identity.MOST_SOURCE)
    except OSError:
        return b"harness"


def _in_packages() -> Iterator[Plugin]:
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            spec = importlib.util.find_spec(entry.module)
        except ImportError as error:
            raise HarnessError(
                f"The method '{entry.name}' of an installed package cannot be found ({error}); install that "
                "package again, or remove it."
            ) from None
        if spec is not None and spec.origin is not None:
            yield Plugin(entry.name, Path(spec.origin))


def find(name_or_path: str) -> Plugin:
    """Return one plugin by name or by path. Raises HarnessError, with a suggestion."""
    if name_or_path.endswith(".py") or "/" in name_or_path:
        file = Path(name_or_path)
        if not file.is_file():
            raise HarnessError(f"{file}: no such file; give a method's name or the path of its .py file.")
        plugin = Plugin(_name(file), file.resolve())
        check_free(plugin)
        return plugin
    known = discover()
    if name_or_path not in known:
        raise HarnessError(f"There is no method '{name_or_path}'.{did_you_mean(name_or_path, known)}")
    return known[name_or_path]


def shipped() -> dict[str, Plugin]:
    """Return the methods of the `methods` package by name: their names are taken."""
    return {
        _name(file): Plugin(_name(file), file)
        for folder in identity.method_folders()
        for file in _files(folder)
    }


def check_free(plugin: Plugin) -> None:
    """Raise HarnessError for a file whose name is no method's, or reads like that of a shipped method.

    Others start from shipped methods, and boards compare with one, by name. A copy of the very same code is
    the shipped method.
    """
    naming.check_name(plugin.name)
    known = shipped()
    if plugin.file in [one.file for one in known.values()]:
        return
    other = naming.like(plugin.name, known)
    if other and not _is_copy(plugin):
        raise HarnessError(
            f"{plugin.file}: the name '{other}' is taken by a shipped method; rename the file."
        )


def same_code(digest: str) -> set[str]:
    """Return the names of the shipped methods whose code has a digest; a broken one has none."""
    found = set()
    for name, plugin in shipped().items():
        with contextlib.suppress(SyntaxError, OSError):
            if identity.method_digest(plugin.file) == digest:
                found.add(name)
    return found


def _is_copy(plugin: Plugin) -> bool:
    """Tell whether a file is a shipped method under its own name."""
    with contextlib.suppress(SyntaxError, OSError):
        return plugin.name in same_code(identity.method_digest(plugin.file))
    return False


def titles() -> dict[str, str]:
    """Return the titles of the shipped methods by name, read in their files without executing them."""
    found = {}
    for name, plugin in shipped().items():
        with contextlib.suppress(SyntaxError, OSError):
            given = [title for node in ast.walk(identity.parse(plugin.file)) if (title := _title(node))]
            found[name] = given[0] if given else name
    return found


def _title(node: ast.AST) -> str:
    """Return the title that a call of `Card` is given, "" for any other node."""
    if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Card":
        return ""
    given = [one.value for one in node.keywords if one.arg == "title"] + node.args[:1]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else ""


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


def requirements(file: Path) -> tuple[str, ...]:
    """Return the packages that a method's file declares in `requires`, without executing it.

    Raises SyntaxError for a file that does not parse, HarnessError for what is not names and versions.
    """
    for node in ast.walk(identity.parse(file)):
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if "requires" in names and isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            return _listed(node.value, f"{file}:{node.lineno}")
    return ()


def reads_at_test(text: bytes, name: str) -> bool:
    """Return whether a method's source declares `reads_attribute_at_test`, without executing it.

    `name` is what an error calls the file. Raises SyntaxError for a file that does not parse, HarnessError
    for a declaration that is not True or False, written out once.
    """
    found: list[ast.expr | None] = []
    for node in ast.walk(identity.parse_text(text, name)):
        value = getattr(node, "value", None)
        found += [value for target in _targets(node) if target == "reads_attribute_at_test"]
    if len(found) > 1 or any(not _is_flag(value) for value in found):
        raise HarnessError(
            f"{name}: reads_attribute_at_test is True or False, written out once in the body of the class."
        )
    return any(isinstance(value, ast.Constant) and value.value is True for value in found)


def _targets(node: ast.AST) -> list[str]:
    """Return the names that a statement gives a value to; of an attribute, its own."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        targets = [node.target]
    return [str(getattr(one, "id", getattr(one, "attr", ""))) for one in targets]


def _is_flag(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, bool)


def origins() -> set[str]:
    """Return the names that the methods here say that they start from, without executing their files."""
    found: set[str] = set()
    for plugin in discover().values():
        with contextlib.suppress(SyntaxError, OSError):
            found |= {name for node in ast.walk(identity.parse(plugin.file)) if (name := _origin(node))}
    return found


def _origin(node: ast.AST) -> str:
    """Return the text that a statement gives to `starts_from`, "" for any other."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    named = any(isinstance(one, ast.Name) and one.id == "starts_from" for one in targets)
    value = getattr(node, "value", None)
    return value.value if named and isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _packages(file: Path) -> dict[str, str]:
    """Return the version of each package that a loaded method requires."""
    names = [Requirement(text).name for text in requirements(file)]
    return {name: version(name) for name in names}


def _listed(value: ast.expr, where: str) -> tuple[str, ...]:
    try:
        texts = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        texts = None
    # A lone text is a sequence too, of letters that may well be packages.
    if not isinstance(texts, tuple | list):
        raise HarnessError(f"{where}: requires is a tuple of requirements like 'scikit-image>=0.22'.")
    try:
        return tuple(requires.all_named(texts))
    except HarnessError as error:
        raise HarnessError(f"{where}: requires: {error}") from None


def _missing(file: Path) -> list[str]:
    missing = []
    for text in requirements(file):
        wanted = Requirement(text)
        try:
            if not wanted.specifier.contains(version(wanted.name), prereleases=True):
                missing.append(text)
        except PackageNotFoundError:
            missing.append(text)
    return missing


def about(method: type[Method], plugin: Plugin) -> About:
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


def load(plugin: Plugin) -> type[Method]:
    """Import a plugin's file and return its one Method class.

    Raises HarnessError if the file holds none or several, or lacks a card; whatever the file
    itself raises comes through unchanged.
    """
    return method_of(imported(plugin), plugin)


def imported(plugin: Plugin) -> ModuleType:
    """Execute a plugin's file and return the module. Raises HarnessError where a package is missing."""
    if missing := _missing(plugin.file):
        command = f"{requires.INSTALL} {requires.quoted(missing)}"
        raise HarnessError(f"{plugin.file}: needs what is not installed; run `{command}`.")
    identity.claim(identity.METHODS)
    with _importable(plugin.file.parent):
        return _execute(plugin)


def method_of(module: ModuleType, plugin: Plugin) -> type[Method]:
    """Return the one Method class of a plugin's module. Raises HarnessError as `load` does."""
    from harness.plugin.method import Card, Method

    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(c.__name__ for c in classes) or "none"
        raise HarnessError(f"{plugin.file}: a method's file defines one subclass of Method, not {names}.")
    (method,) = classes
    if not isinstance(getattr(method, "card", None), Card):
        raise HarnessError(f"{plugin.file}: {method.__name__} has no card; add `card = Card(title=...)`.")
    _check_search(method, hyper_parameters(method, plugin), plugin)
    _check_declared(method, hyper_parameters(method, plugin), plugin)
    return method


def load_all(plugins: Sequence[Plugin]) -> tuple[dict[str, type[Method]], list[Broken]]:
    """Import plugins one by one; one that fails is reported and the others still load."""
    return _each(plugins, load)


def describe_all(plugins: Sequence[Plugin]) -> tuple[dict[str, About], list[Broken]]:
    """Import plugins one by one and return what they say of themselves; see `load_all`."""
    return _each(plugins, lambda plugin: about(load(plugin), plugin))


def _each(plugins: Sequence[Plugin], ask: Callable[[Plugin], T]) -> tuple[dict[str, T], list[Broken]]:
    answers: dict[str, T] = {}
    broken: list[Broken] = []
    for plugin in plugins:
        try:
            answers[plugin.name] = ask(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a stranger's file may raise anything
            broken.append(Broken(plugin, describe_error(error, plugin.file), trace_of(error)))
    return answers, broken


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


def _check_search(method: type[Method], defaults: dict[str, Any], plugin: Plugin) -> None:
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


def _check_declared(method: type[Method], defaults: dict[str, Any], plugin: Plugin) -> None:
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
    if at_test is not reads_at_test(identity.read(plugin.file), str(plugin.file)):
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


def describe_error(error: BaseException, file: Path) -> str:
    """Return one line: the place in the plugin's own file, and what was raised there."""
    return plain(_described(error, file))[:MOST_ERROR]


def raised_in(error: BaseException, file: Path) -> bool:
    """Tell whether an error came out of code of a plugin's own file."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(Path(frame.f_code.co_filename) == file for frame, _ in frames)


def _described(error: BaseException, file: Path) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{error.filename or file}:{error.lineno or 1}: SyntaxError: {error.msg}"
    frames = traceback.walk_tb(error.__traceback__)
    lines = [number for frame, number in frames if Path(frame.f_code.co_filename) == file]
    place = f"{file}:{lines[-1]}" if lines else str(file)
    text = _text(error).strip().splitlines()
    return f"{place}: {type(error).__name__}{': ' + text[0] if text else ''}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as other:  # noqa: BLE001 - a stranger's error may raise where it is printed
        return f"and {type(other).__name__} where it is printed"


def trace_of(error: BaseException) -> str:
    """Return an error's traceback as text, "" where even that raises: an error may be a stranger's too."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - the sentence stays, the traceback is lost
        return ""


def methods_folder() -> Path:
    """Return the folder of the `methods` package: where a new method's file belongs."""
    folders = identity.method_folders()
    if not folders:
        raise HarnessError("There is no methods/ folder; run from a clone, or give a method's path.")
    return folders[0]


def _name(file: Path) -> str:
    return file.stem.replace("_", "-")


def _execute(plugin: Plugin) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{identity.METHODS}.{plugin.file.stem}", plugin.file)
    if spec is None or spec.loader is None:
        raise HarnessError(f"{plugin.file}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a plugin import the files beside it, and forget them after: two folders may share names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin and Path(origin).parent == folder and not name.startswith(f"{identity.METHODS}."):
                del sys.modules[name]
