"""Run the tests nearest to what changed, as many as fit into half a minute: python tests/affected.py [BASE].

What a file reaches is read off its syntax tree: what it imports, at the top or within a function, and what
its texts name (a module, a console script, a data file or its folder). A test is as near as the number of
steps to the nearest file that changed, and nearest of all where it mirrors that file.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import durations

BUDGET, LONGEST, UNKNOWN = 30.0, 8.0, 5.0
"""Seconds for all tests, for one test, and what a file takes that never ran here."""


@dataclass(frozen=True)
class Tree:
    """The files of a clone, below `root`, and what they are called where they are imported."""

    root: Path
    files: tuple[str, ...]

    @cached_property
    def settings(self) -> dict:
        return tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))

    @cached_property
    def modules(self) -> dict[str, str]:
        """Dotted name to file, seen from each folder that Python looks in."""
        roots = self.settings["tool"]["pytest"]["ini_options"]["pythonpath"]
        found = {}
        for name in (file for file in self.files if file.endswith(".py")):
            for root in ("" if root == "." else f"{root}/" for root in roots):
                if name.startswith(root):
                    dotted = name.removeprefix(root).removesuffix(".py").replace("/", ".")
                    found.setdefault(dotted.removesuffix(".__init__"), name)
        return found

    @cached_property
    def data(self) -> dict[str, set[str]]:
        """What a text may call a file by that is no module: its name or, beside its folder, the folder's."""
        found = defaultdict(set)
        for name in (file for file in self.files if not file.endswith(".py")):
            path = Path(name)
            found[path.name].add(name)
            if len(path.parts) > 2:
                found[path.parent.name].add(name)
        return found

    @cached_property
    def scripts(self) -> dict[str, str]:
        """Command to the file that it runs."""
        named = self.settings["project"].get("scripts", {})
        return {script: self.modules[target.partition(":")[0]] for script, target in named.items()}

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Each Python file's syntax tree; one that does not parse has none, and lint says so."""
        found = {}
        for name in self.modules.values():
            try:
                found[name] = ast.parse((self.root / name).read_bytes())
            except SyntaxError:
                found[name] = ast.Module([], [])
        return found

    @cached_property
    def edges(self) -> dict[str, set[str]]:
        """Each Python file to the files that it reaches in one step."""
        dotted = {file: name for name, file in sorted(self.modules.items(), key=lambda m: -len(m[0]))}
        found = {}
        for name, tree in self.trees.items():
            reached = {self._file(target) for target in _imports(tree, dotted[name], name)}
            reached |= self._mentioned(tree, name)
            reached |= {file for file in self.files if _governs(file, name)}
            found[name] = reached - {name, None}
        return found

    def _file(self, target: tuple[str, str]) -> str | None:
        """Return the file that holds `name` of `module`, through the packages that hand it on."""
        module, name = target
        if f"{module}.{name}" in self.modules:
            return self.modules[f"{module}.{name}"]
        file = self.modules.get(module)
        if file is None or not name or not file.endswith("__init__.py"):
            return file
        for node in self.trees[file].body:
            if isinstance(node, ast.ImportFrom) and any(a.asname or a.name == name for a in node.names):
                return self._file((_absolute(node, module, file), name))
        return file

    def _mentioned(self, tree: ast.Module, file: str) -> set[str]:
        found, around = set(), Path(file).parents
        for text in (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)):
            if not isinstance(text, str):
                continue
            for dotted in re.findall(r"\w+(?:\.\w+)+", text):
                while dotted and dotted not in self.modules:
                    dotted = dotted.rpartition(".")[0]
                found |= {self.modules[dotted]} if "." in dotted else set()
            found |= {self.scripts[text]} if text in self.scripts else set()
            for word in re.findall(r"[\w.-]+", text):
                found |= {d for d in self.data.get(word, ()) if "." in word or Path(d).parents[1] in around}
        return found

    def distances(self, changed: Sequence[str]) -> dict[str, int]:
        """Each test file that reaches a changed file to its number of steps; 0 for one that mirrors it."""
        before = defaultdict(set)
        for name, reached in self.edges.items():
            for target in reached:
                before[target].add(name)
        steps = dict.fromkeys(changed, 0)
        queue = list(steps)
        for name in queue:
            for nearer in before[name] - steps.keys():
                steps[nearer] = steps[name] + 1
                queue.append(nearer)
        mirrors = {f"test_{Path(name).name}" for name in changed}
        tests = [name for name in self.edges if re.fullmatch(r"tests/(.+/)?test_\w+\.py", name)]
        steps |= {name: 0 for name in tests if Path(name).name in mirrors}
        return {name: steps[name] for name in tests if name in steps}


def _imports(tree: ast.Module, dotted: str, file: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of what a file imports, wherever in it; the name is "" for a whole module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((_absolute(node, dotted, file), alias.name) for alias in node.names)


def _absolute(node: ast.ImportFrom, dotted: str, file: str) -> str:
    parts = dotted.split(".") + ["__init__"] * file.endswith("__init__.py")
    around = parts[: -node.level] if node.level else []
    return ".".join([*around, *([node.module] if node.module else [])])


def _governs(conftest: str, file: str) -> bool:
    path = Path(conftest)
    return path.name == "conftest.py" and path.parent in Path(file).parents


def clone(root: Path) -> Tree:
    """Return the files of a clone that git tracks or has not been told to ignore."""
    listed = _git(root, "ls-files", "--cached", "--others", "--exclude-standard")
    return Tree(root, tuple(sorted({name for name in listed if (root / name).is_file()})))


def changed_since(root: Path, base: str = "") -> list[str]:
    """Return what differs from `base`: by default from where main was left, on main from the last commit."""
    mains = [_git(root, "merge-base", "HEAD", main) for main in ("main", "origin/main")]
    base = base or next((found[0] for found in mains if found), "HEAD")
    new = _git(root, "ls-files", "--others", "--exclude-standard")
    changed = _git(root, "diff", "--name-only", base) + new
    return changed or _git(root, "diff", "--name-only", "HEAD~1")


def _git(root: Path, *words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def chosen(distances: dict[str, int], known: dict[str, float]) -> tuple[list[str], list[str], list[str]]:
    """Return the files to run, nearest first and within the budget, their tests too long for it, the rest."""
    by_file, long = defaultdict(dict), []
    for test, seconds in known.items():
        by_file[test.partition("::")[0]][test] = seconds
    cost = {}
    for file in distances:
        cost[file] = sum(s for s in by_file[file].values() if s <= LONGEST) if by_file[file] else UNKNOWN
    left, files, rest = BUDGET, [], []
    for file in sorted(distances, key=lambda file: (distances[file], cost[file], file)):
        # The nearest is run however long it takes.
        if cost[file] <= left or not files:
            files.append(file)
            left -= cost[file]
            long += [test for test, seconds in by_file[file].items() if seconds > LONGEST]
        else:
            rest.append(file)
    return files, long, rest


def main(base: str = "") -> int:
    """Run what was chosen; return pytest's status."""
    root = Path(__file__).parents[1]
    changed = changed_since(root, base)
    distances = clone(root).distances(changed)
    cache = root / ".pytest_cache" / "v" / durations.KEY
    known = json.loads(cache.read_text()) if cache.is_file() else {}
    files, long, rest = chosen({f: at for f, at in distances.items() if "tests/engines/" not in f}, known)
    print(f"{len(changed)} files changed; {len(files)} test files are nearest: {' '.join(files)}", flush=True)
    if rest or long:
        left = f"{len(rest)} files further off, {len(long)} tests of more than {LONGEST:g} s"
        print(f"Left to `make test`: {left}.", flush=True)
    if not files:
        return 0
    skipped = [word for test in long for word in ("--deselect", test)]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *files, *skipped], cwd=root, check=False)
    return 0 if done.returncode == 5 else done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
