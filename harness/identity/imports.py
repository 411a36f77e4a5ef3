"""Which files a file reaches by import, and where the harness and its methods lie."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from harness.identity.source import read, unparsed
from harness.identity.syntax import module_of

HARNESS = Path(__file__).resolve().parents[1]

INSTALLED = HARNESS.parent / "equity_leaderboard"
"""Where an installed copy has `methods` and `leaderboard`; a clone has them beside the harness."""

METHODS = "methods"
"""The package of the shipped methods; every method's file is executed as if it lay there."""

# The floor under a training: it raises, names and writes, and what it holds enters as data or values.
_FLOOR = ("errors.py", "identity", "moved.py", "protocol.py", "store")

MOST_LEVELS = 10
"""Folders that a relative import may go up."""

_LONGEST_PART = 100  # of a module's name: file systems refuse, with an error of their own, what is longer


def reached(entries: Iterable[Path], method: Path | None = None) -> list[Path]:
    """Return the files that a run of the entries, and of a method, reaches by import, sorted.

    Left out is the floor under a training: what raises, names and writes cannot change a prediction.
    """
    found = _followed([entry.resolve() for entry in entries], _Roots([_root()]))
    found |= set(local_files(method)) if method is not None else set()
    return sorted(path for path in found if not _is_floor(path))


def local_files(file: Path) -> list[Path]:
    """Return `file` and every local file that it imports, directly or not, sorted.

    Local are the harness, the shipped methods and what lies beside a file that is neither; imports anywhere
    in a file count, but for those that only a type checker follows. Raises SyntaxError.
    """
    start = file.resolve()
    return sorted(_followed([start], _Roots(_roots(start))))


def method_files(file: Path) -> list[Path]:
    """Return a method's file and the local modules that it imports, the harness aside, sorted."""
    return [path for path in local_files(file) if HARNESS not in path.parents]


def places(file: Path) -> dict[str, Path]:
    """Return the files of a method by where they belong below one folder, from which it can be imported."""
    file = file.resolve()
    own = file.parent.parent if (file.parent / "__init__.py").is_file() else file.parent
    roots = [own, *(folder.parent for folder in method_folders())]
    return {
        next(path.relative_to(r).as_posix() for r in roots if path.is_relative_to(r)): path
        for path in method_files(file)
    }


@cache
def method_folders() -> list[Path]:
    """Return the folders of the `methods` package: one in a clone or an installed copy, none without."""
    if (INSTALLED / METHODS).is_dir():
        return [INSTALLED / METHODS]
    with suppress(ModuleNotFoundError, ValueError):
        spec = find_spec(METHODS)
        if spec is not None and spec.submodule_search_locations:
            return [Path(p).resolve() for p in spec.submodule_search_locations]
    return []


def claim(name: str) -> None:
    """Let a package that an installed copy carries be importable by its name, in this process.

    Among installed packages `methods` and `leaderboard` may well be others', so these two lie elsewhere.
    """
    file = INSTALLED / name / "__init__.py"
    held = getattr(sys.modules.get(name), "__file__", None)
    if not file.is_file() or held == str(file):
        return
    spec = spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


def _followed(starts: list[Path], roots: _Roots) -> set[Path]:
    """Return the files at which imports start and all that they reach below the roots."""
    found: set[Path] = set()
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            for name in _absolute(path, path in starts, roots):
                waiting.extend(roots.files(name))
    return found


@dataclass(frozen=True)
class _Root:
    """A folder from which dotted names count; `only` is the one package there that is local, "" for any."""

    folder: Path
    only: str = ""


def _roots(file: Path) -> list[_Root]:
    own = []
    if HARNESS not in file.parents:
        beside = file.parent
        if (beside / "__init__.py").is_file():
            own = [_Root(beside), _Root(beside.parent, beside.name)]
        else:
            # Among installed packages a lone file has none of them for its own.
            own = [_Root(beside, file.stem if beside == HARNESS.parent else "")]
        own += [_Root(folder.parent, METHODS) for folder in method_folders()]
    return [*own, _root()]


def _root() -> _Root:
    return _Root(HARNESS.parent, HARNESS.name)


def _is_floor(path: Path) -> bool:
    return path.is_relative_to(HARNESS) and path.relative_to(HARNESS).parts[0] in _FLOOR


def _absolute(path: Path, starts: bool, roots: _Roots) -> Iterator[str]:
    """Yield the dotted names that a file imports; relative ones by where it lies and is executed.

    starts: a method's own file is executed as one of the package of methods, wherever it lies.
    """
    for name in module_of(read(path), str(path)).imported:
        level = len(name) - len(name.lstrip("."))
        if not level:
            yield name
            continue
        if level > min(len(path.parents), MOST_LEVELS):
            raise unparsed(str(path), f"an import goes {level} folders up")
        parents = {_dotted(path.parents[level - 1], roots.roots), *([METHODS] if starts else [])}
        yield from (".".join(part for part in (parent, name[level:]) if part) for parent in sorted(parents))


def _dotted(folder: Path, roots: list[_Root]) -> str:
    for root in sorted(roots, key=lambda one: len(one.folder.parts)):
        if folder.is_relative_to(root.folder):
            return ".".join(folder.relative_to(root.folder).parts)
    return ""


class _Roots:
    """The folders from which one look at imports counts; each name is looked for once a look."""

    def __init__(self, roots: list[_Root]) -> None:
        self.roots = roots
        self._found: dict[str, list[Path]] = {}
        self._modules: dict[str, list[Path]] = {}
        self._spelled: dict[str, list[Path]] = {}

    def files(self, name: str) -> list[Path]:
        """Return the files of a dotted name, or what a package of ours finds for it; none for others'."""
        if name not in self._found:
            self._found[name] = self._module(name) or self._lazy(name.rpartition(".")[0])
        return self._found[name]

    def _module(self, name: str) -> list[Path]:
        if name not in self._modules:
            self._modules[name] = _resolve(name, self.roots)
        return self._modules[name]

    def _lazy(self, package: str) -> list[Path]:
        """Return what a package finds for a name that is no module of it: all that it may find there."""
        if package not in self._spelled:
            files = self._module(package)[:1]
            spelled = [one for path in files for one in module_of(read(path), str(path)).lazy]
            self._spelled[package] = [path for one in spelled for path in self._module(one)]
        return self._spelled[package]


def _resolve(name: str, roots: list[_Root]) -> list[Path]:
    """Return the file of a dotted name and the `__init__` files on the way to it."""
    parts = [part for part in name.split(".") if part]
    # A text given to `import_module` may be anything: what is no name is no path below the folder either.
    if not parts or not all(part.isidentifier() and len(part) <= _LONGEST_PART for part in parts):
        return []
    for root in roots:
        if root.only not in ("", parts[0]):
            continue
        module = root.folder.joinpath(*parts)
        hits = [p for p in (module.with_suffix(".py"), module / "__init__.py") if p.is_file()]
        if hits:
            packages = [root.folder.joinpath(*parts[:n], "__init__.py") for n in range(1, len(parts))]
            return [_inside(path, root) for path in (*hits, *packages) if path.is_file()]
    return []


def _inside(path: Path, root: _Root) -> Path:
    """Return the file of a module. Raises SyntaxError for a link to what lies outside of its folder."""
    found = path.resolve()
    if not found.is_relative_to(root.folder.resolve()):
        raise unparsed(str(path), "it is a link to a file outside of its folder; put a copy there")
    return found
