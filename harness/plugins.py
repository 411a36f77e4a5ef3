"""Finding methods by their three doors: the methods folder, a path, an entry point."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from harness.method import Method

ENTRY_POINTS = "harness.methods"


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
    """Return the plugins of the methods folder and of the entry points, by name."""
    found: dict[str, Plugin] = {}
    for folder in _folders():
        for file in sorted(folder.glob("*.py")):
            if not file.stem.startswith("_"):
                found.setdefault(_name(file), Plugin(_name(file), file))
    for entry in entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(entry.module)
        if spec is not None and spec.origin is not None:
            found.setdefault(entry.name, Plugin(entry.name, Path(spec.origin)))
    return found


def find(name_or_path: str) -> Plugin:
    """Return one plugin by name or by path. Raises HarnessError, with a suggestion."""
    if name_or_path.endswith(".py") or "/" in name_or_path:
        file = Path(name_or_path)
        if not file.is_file():
            raise HarnessError(f"{file}: no such file; give a method's name or the path of its .py file.")
        return Plugin(_name(file), file.resolve())
    known = discover()
    if name_or_path not in known:
        raise HarnessError(f"There is no method '{name_or_path}'.{did_you_mean(name_or_path, known)}")
    return known[name_or_path]


def load(plugin: Plugin) -> type[Method]:
    """Import a plugin's file and return its one Method class.

    Raises HarnessError if the file holds none or several, or lacks a card; whatever the file
    itself raises comes through unchanged.
    """
    from harness.method import Card, Method

    with _importable(plugin.file.parent):
        module = _execute(plugin)
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
    hyper_parameters(method, plugin)
    return method


def load_all(plugins: Sequence[Plugin]) -> tuple[dict[str, type[Method]], list[Broken]]:
    """Import plugins one by one; one that fails is reported and the others still load."""
    methods: dict[str, type[Method]] = {}
    broken: list[Broken] = []
    for plugin in plugins:
        try:
            methods[plugin.name] = load(plugin)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's file may raise anything
            broken.append(Broken(plugin, describe_error(error, plugin.file), traceback.format_exc()))
    return methods, broken


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


def check_hyper_parameters(
    method: type[Method], plugin: Plugin, given: dict[str, Any], where: str
) -> dict[str, Any]:
    """Return defaults overlaid with `given`, each value fitted to its annotation.

    Raises HarnessError naming `where` for an unknown name or a value of the wrong type.
    """
    defaults = hyper_parameters(method, plugin)
    hints = inspect.get_annotations(method.__init__, eval_str=True)
    for name, value in given.items():
        if name not in defaults:
            raise HarnessError(f"{where}: {plugin.name} has no '{name}'.{did_you_mean(name, defaults)}")
        try:
            given[name] = TypeAdapter(hints.get(name, Any)).validate_python(value)
        except ValidationError as error:
            raise HarnessError(
                f"{where}: {plugin.name}.{name} = {value!r}: {error.errors()[0]['msg']}."
            ) from None
    return defaults | given


def describe_error(error: BaseException, file: Path) -> str:
    """Return one line: the place in the plugin's own file, and what was raised there."""
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == file]
    place = f"{file}:{lines[-1]}" if lines else str(file)
    text = str(error).strip().splitlines()
    return f"{place}: {type(error).__name__}{': ' + text[0] if text else ''}"


def methods_folder() -> Path:
    """Return the folder of the `methods` package: where a new method's file belongs."""
    folders = _folders()
    if not folders:
        raise HarnessError("There is no methods/ folder; run from a clone, or give a method's path.")
    return folders[0]


def _folders() -> list[Path]:
    with contextlib.suppress(ModuleNotFoundError, ValueError):
        spec = importlib.util.find_spec("methods")
        if spec is not None and spec.submodule_search_locations:
            return [Path(p).resolve() for p in spec.submodule_search_locations]
    return []


def _name(file: Path) -> str:
    return file.stem.replace("_", "-")


def _execute(plugin: Plugin) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"methods.{plugin.file.stem}", plugin.file)
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
            if origin and Path(origin).parent == folder and not name.startswith("methods."):
                del sys.modules[name]
