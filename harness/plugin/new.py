"""Write the first version of a method: a file that works at once, and a test of it."""

from __future__ import annotations

import keyword
import re
import string
from importlib import resources
from pathlib import Path

from harness.errors import HarnessError
from harness.plugin import discovery
from harness.store import files

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

# Where a new word begins in MyMethod and GroupDRO, and none in CVaR.
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z]{2}|[A-Z][a-z])")


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `folder/NAME.py` and its test; return both paths.

    The test goes to `tests/methods/` beside the folder. Raises HarnessError for a name that is no
    method's, or where a file is already there.
    """
    _check_name(name)
    module = name.replace("-", "_")
    words = name.split("-")
    cls = "".join(word.capitalize() for word in words)
    plugin, test = folder / f"{module}.py", folder.parent / "tests" / "methods" / f"test_{module}.py"
    values = {
        "title": " ".join(words).capitalize(),
        "cls": cls,
    }
    values |= _imports(folder, module, cls)
    texts = {
        test: _template("test_method.py.txt").substitute(values),
        plugin: _template("method.py.txt").substitute(values),
    }
    # A test as it would be written is what is left where the power went before its method was there.
    if plugin.exists() or (test.exists() and _text(test) != texts[test]):
        file = plugin if plugin.exists() else test
        raise HarnessError(f"{file}: is already there and is not overwritten; choose another name.")
    if name in discovery.discover():
        raise HarnessError(f"'{name}' is a method that is there already; choose another name.")
    for file, text in texts.items():
        if not file.exists():
            _write(file, text)
    return plugin, test


def spelt(name: str) -> str:
    """Return a name as methods have theirs, `my-cvar` for My_CVaR; one that says something else as it is."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*(\.py)?", name)
    taken = _NAME.fullmatch(name) or keyword.iskeyword(name.lower())
    return suggest_name(name) if plain and not taken else name


def suggest_name(name: str) -> str:
    """Return the nearest name that a method can have, "" if there is none."""
    text = _WORD.sub("-", name).lower()
    text = re.sub(r"[^a-z0-9]+", "-", text.removesuffix(".py")).lstrip("-0123456789").rstrip("-")
    if keyword.iskeyword(text):
        text = f"{text}-method"
    return text if _NAME.fullmatch(text) else ""


def is_found(file: Path) -> bool:
    """Tell whether a method's file is found by its name, from where this process runs."""
    return any(plugin.file.resolve() == file.resolve() for plugin in discovery.discover().values())


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) and not keyword.iskeyword(name) and len(name) <= 40:
        return
    better = suggest_name(name)[:40].strip("-")
    hint = f" Try '{better}'." if better else ""
    raise HarnessError(
        f"'{name}' is no method's name: small letters, digits and single hyphens, a letter first, at most "
        f"40 in all.{hint}"
    )


def _imports(folder: Path, module: str, cls: str) -> dict[str, str]:
    """Return how the test imports the method: from the clone's package, else by its path."""
    if (folder / "__init__.py").is_file():
        line = f"from {folder.resolve().name}.{module} import {cls}\n"
        return {"pathlib": "", "harness": "Batch, Output, Task", "method": line}
    path = f'Path(__file__).parents[2] / "{folder.name}" / "{module}.py"'
    return {
        "pathlib": "from pathlib import Path\n\n",
        "harness": "Batch, Output, Task\nfrom harness.plugin import discovery",
        "method": f"\n{cls} = discovery.load(discovery.find(str({path})))\n",
    }


def _template(name: str) -> string.Template:
    return string.Template(
        (resources.files("harness.plugin") / "templates" / name).read_text(encoding="utf-8")
    )


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _write(file: Path, text: str) -> None:
    try:
        files.make(file.parent)
        files.create(file, text.encode())
    except OSError as error:
        raise HarnessError(
            f"{file}: {error.strerror}; give a folder that can be written with --folder."
        ) from None
