"""Finding methods by their doors: the methods folder, `methods/` where one is, an entry point, a path."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from packaging.requirements import Requirement

from harness import identity
from harness.errors import HarnessError, did_you_mean, plain
from harness.plugin import declared, naming, requires, written

if TYPE_CHECKING:
    from harness.plugin.method import Method

ENTRY_POINTS = "harness.methods"

T = TypeVar("T")


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
            given = written.titles(plugin.file)
            found[name] = given[0] if given else name
    return found


def origins() -> set[str]:
    """Return the names that the methods here say that they start from, without executing their files."""
    found: set[str] = set()
    for plugin in discover().values():
        with contextlib.suppress(SyntaxError, OSError):
            found |= written.origins(plugin.file)
    return found


def _missing(file: Path) -> list[str]:
    missing = []
    for text in written.requirements(file):
        wanted = Requirement(text)
        try:
            if not wanted.specifier.contains(version(wanted.name), prereleases=True):
                missing.append(text)
        except PackageNotFoundError:
            missing.append(text)
    return missing


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
    defaults = declared.hyper_parameters(method, plugin)
    declared.check_search(method, defaults, plugin)
    declared.check_attributes(method, defaults, plugin)
    return method


def load_all(plugins: Sequence[Plugin]) -> tuple[dict[str, type[Method]], list[Broken]]:
    """Import plugins one by one; one that fails is reported and the others still load."""
    return _each(plugins, load)


def describe_all(plugins: Sequence[Plugin]) -> tuple[dict[str, declared.About], list[Broken]]:
    """Import plugins one by one and return what they say of themselves; see `load_all`."""
    return _each(plugins, lambda plugin: declared.of(load(plugin), plugin))


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


def describe_error(error: BaseException, file: Path) -> str:
    """Return one line: the place in the plugin's own file, and what was raised there."""
    return plain(_described(error, file))[: declared.MOST_ERROR]


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
