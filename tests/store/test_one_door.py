"""Who writes, writes through `harness.store.files`; what a file is called is written once."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.store import files, names

ROOT = Path(files.__file__).parents[2]
PLACES = ("harness/**/*.py", "leaderboard/**/*.py", "methods/*.py")
SOURCES = sorted(path for place in PLACES for path in ROOT.glob(place))

METHODS = {
    "dump",
    "extract",
    "extractall",
    "hardlink_to",
    "open_memmap",
    "rmdir",
    "save",
    "save_file",
    "savetxt",
}
METHODS |= {
    "savez",
    "savez_compressed",
    "symlink_to",
    "to_csv",
    "to_feather",
    "to_json",
    "to_parquet",
    "to_pickle",
}
METHODS |= {"tofile", "touch", "unlink", "write_bytes", "write_csv", "write_table", "write_text"}
OF_MODULE = {
    "os": {"fdopen", "fsync", "ftruncate", "link", "open", "remove", "rename", "renames", "replace", "rmdir"}
    | {"symlink", "truncate", "unlink"},
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move", "rmtree"},
    "tempfile": {"NamedTemporaryFile", "mkdtemp", "mkstemp"},
    "fcntl": {"flock", "lockf"},
}
"""Calls by which a file or a folder comes to be, changes or goes."""

MEMORY = "into memory: the bytes are handed to `files`"
ALLOWED = {
    "harness/store/formats.py": ({"to_csv", "to_parquet", "savez_compressed", "save", "write_table"}, MEMORY),
    "harness/training/checkpoint.py": ({"save"}, MEMORY),
    "harness/training/side.py": ({"save"}, MEMORY),
    "harness/training/fit.py": ({"save"}, MEMORY),
    "harness/cohorts/papila.py": ({"save"}, MEMORY),
    "harness/commands/audit_page.py": ({"save"}, MEMORY),
    "harness/predictions/overlays.py": ({"save"}, MEMORY),
    "harness/running/basis.py": ({"to_csv"}, MEMORY),
    "harness/store/leases.py": (
        {"mkdtemp", "rmtree"},
        "temporary folders of one process, gone with it or with the next",
    ),
    "harness/arrays.py": ({"map r+"}, "in the mode of who calls, who is looked at here"),
    "harness/sandbox/wheels.py": ({"rmtree", "write_text"}, "an image's own temporary folder"),
    "harness/submission/signature.py": ({"NamedTemporaryFile"}, "what ssh-keygen reads, gone after it"),
    "harness/training/encode.py": (
        {"map r+"},
        "the maps of a folder that is still aside, filled where they are",
    ),
    "harness/cohorts/thumbnails.py": ({"save"}, MEMORY),
    "harness/sandbox/staging.py": (
        {"copyfile", "link", "to_parquet", "write_bytes", "write_text"},
        "a container's own temporary folder, gone with it",
    ),
    "harness/sandbox/build.py": ({"copy", "link", "write_text"}, "an image's own temporary folder"),
    "harness/sandbox/inside.py": ({"fdopen"}, "the stream of the results"),
    "harness/submission/rerun.py": ({"write_bytes"}, "a submission's own temporary folder, gone with it"),
    "harness/check/child.py": ({"open", "os.open"}, "a check's own temporary folder, gone with it"),
    "harness/check/training.py": ({"copytree"}, "a check's own temporary folder, gone with it"),
    "harness/commands/report.py": ({"copy"}, "a temporary folder, until two sites are compared"),
    "harness/cli.py": ({"os.open"}, "nowhere, once nobody reads the output"),
    "leaderboard/site.py": ({"copytree"}, "the folder that `writing` gave"),
    "leaderboard/publishing.py": ({"copy2", "copytree", "write_bytes"}, "the folder that `writing` gave"),
    "leaderboard/write/exports.py": (
        {"open", "unlink", "write_bytes"},
        "parts put together below the folder of site.py",
    ),
    "leaderboard/write/versions.py": ({"write_bytes"}, "the folder that `writing` gave in publishing.py"),
    "leaderboard/draw/cases.py": ({"save", "write_bytes"}, "below the folder that `writing` gave in site.py"),
    "leaderboard/": ({"write_csv", "write_text"}, "below the folder that `writing` gave in site.py"),
}
"""File, or the folder that it is in, to the calls that go around `files`, and why they may."""


def test_who_writes_does_it_through_the_store():
    found = {(relative(path), call) for path in SOURCES for call in written(path)}
    around = {one for one in found if one[0] != "harness/store/files.py"}
    strays = {(file, call) for file, call in around if not allowed(file, call)}
    assert strays == set()
    # An exception that nobody needs any more is one that somebody will use.
    granted = {(place, call) for place, (calls, _) in ALLOWED.items() for call in calls}
    needed = {
        (place, call) for place, call in granted for file, c in around if file.startswith(place) and c == call
    }
    assert granted == needed


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def allowed(file: str, call: str) -> bool:
    return any(file.startswith(place) and call in calls for place, (calls, _) in ALLOWED.items())


def written(path: Path) -> Iterator[str]:
    """The calls of a file that write: those of METHODS and OF_MODULE, and what opens for writing."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and (call := writes(node)):
            yield call


def writes(call: ast.Call) -> str:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    module = getattr(getattr(call.func, "value", None), "id", "")
    of_an_object = isinstance(call.func, ast.Attribute)
    if module in OF_MODULE:
        return (f"os.{name}" if name == "open" else name) if name in OF_MODULE[module] else ""
    if module == "files":
        return ""
    if name in METHODS and (of_an_object or name != "save"):
        return name
    # A text's `replace` has two arguments; a dataclass's, a date's or a table's has names for them.
    if name in ("rename", "replace") and of_an_object and len(call.args) == 1 and not call.keywords:
        return name
    if name == "open" and is_for_writing(call.args[not of_an_object :], call.keywords):
        return name
    mode = [one.value for one in call.keywords if one.arg == ("mode" if module == "arrays" else "mmap_mode")]
    if (module, name) == ("arrays", "mapped"):
        mode += call.args[1:]
    return "map r+" if any(getattr(one, "value", "") != "r" for one in mode) else ""


def is_for_writing(args: list[ast.expr], keywords: list[ast.keyword]) -> bool:
    given = [*args[:1], *(one.value for one in keywords if one.arg == "mode")]
    modes = [one.value for one in given if isinstance(one, ast.Constant)]
    return any(isinstance(mode, str) and set(mode) & set("wxa+") for mode in modes)


@pytest.mark.parametrize(
    "line",
    [
        "Path('a').write_text('b')",
        "open('a', 'w')",
        "Path('a').open(mode='xb')",
        "os.replace('a', 'b')",
        "Path('a').replace(b)",
        "np.save('a', b)",
        "frame.to_parquet('a')",
        "shutil.rmtree('a')",
        "Path('a').unlink()",
        "np.load('a', mmap_mode='r+')",
        "arrays.mapped(a, 'r+')",
        "arrays.mapped(a, mode='r+')",
        "tempfile.mkdtemp()",
        "fcntl.flock(a, b)",
    ],
)
def test_a_writer_beside_the_store_is_seen(line, tmp_path):
    (tmp_path / "a.py").write_text(f"def f():\n    {line}\n")
    assert len(list(written(tmp_path / "a.py"))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "'a'.replace('b', 'c')",
        "replace(a, b=1)",
        "day.replace(hour=1)",
        "arrays.mapped(a)",
        "open('a')",
        "a.open('rb')",
    ],
)
def test_what_does_not_write_is_not(line, tmp_path):
    (tmp_path / "a.py").write_text(f"def f():\n    {line}\n")
    assert list(written(tmp_path / "a.py")) == []


def test_a_name_of_the_store_is_written_in_one_place():
    own = {value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}
    for path in SOURCES:
        if path.name != "names.py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert node.value.rpartition("/")[2] not in own, (relative(path), node.lineno, node.value)


def test_a_folder_in_its_place_is_not_filled_as_one_aside(tmp_path):
    with pytest.raises(RuntimeError, match=r"no folder that `writing` gave"):
        files.put(tmp_path / "record.json", b"{}")


WITHOUT = """
import importlib, pkgutil, sys, warnings

# What Windows does not have.
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
import harness, leaderboard

for package in (harness, leaderboard):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

from pathlib import Path
from harness.store import claims, files

warnings.simplefilter("ignore")  # the library says that it has a weaker lock here
place = Path(sys.argv[1])
claim = place / "claim"
with claims.held(place / "lock"), claims.claimed(claim) as own, claims.claimed(claim) as other:
    files.write(place / "file", b"whole")
    with files.writing(place / "folder") as folder:
        files.put(folder / "file", b"whole")
print(own, other, (place / "file").read_text(), (place / "folder" / "file").read_text())
"""


@pytest.mark.slow
def test_everything_imports_and_the_store_works_without_what_posix_alone_has(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(WITHOUT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True False whole whole\n"), done.stderr
