"""Commands at random, killed or not: what is kept goes only where the command that removes it says so."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from commands_at_random import METHOD, PROTOCOLS, Kept, Prompt

COMMANDS = 30
SEQUENCES = 4

METHODS = ("erm", "groupdro", "febs", "mine.py")


def lost(before: Kept, after: Kept, said: str) -> list[str]:
    """Return what is gone without a word."""
    found = [f"record {one}" for one, files in before.records.items() if after.records.get(one) != files]
    for cell, was_done in before.cells.items():
        key, _, method, seed = cell
        origin = before.controls[key, method] or method
        told = f"Rows of {method} leave the board '{key}'" in said
        if cell not in after.cells and not told and not {(key, origin), (key, method)} & after.withdrawn:
            found.append(f"row {method} seed {seed} of {key}")
        if was_done and not after.cells.get(cell, True) and f"of {method} on the board '{key}'" not in said:
            found.append(f"score of {method} seed {seed} of {key}")
    found += [
        f"tries of {method} in {file}"
        for (file, method), tries in before.tries.items()
        if not all(one in after.tries.get((file, method), []) for one in tries)
    ]
    on_boards = {method for _, _, method, _ in after.cells} - before.aside - after.aside
    found += [f"site's {one}" for one in (before.shown - after.shown) & on_boards]
    found += [name for name, data in before.packed.items() if after.packed.get(name) != data]
    return found


class Typist:
    """Types commands drawn from a seed."""

    def __init__(self, prompt: Prompt, submissions: list[Path], seed: int) -> None:
        self.prompt, self.submissions, self.rng = prompt, submissions, random.Random(seed)
        self.runs = ["--runs", str(prompt.runs)]
        self.cache = ["--cache", str(prompt.cache)]

    def next(self) -> tuple[str, ...]:
        """Return a command."""
        kind = self.rng.choices(
            ("run", "edit", "tune", "submit", "pack", "withdraw", "archive", "restore", "report"),
            (9, 3, 3, 4, 2, 2, 2, 2, 1),
        )[0]
        return getattr(self, f"_{kind}")()

    def dies_after(self) -> int:
        """Return after how many changes to files a command is killed, -1 for never."""
        return self.rng.choice([-1, -1, -1, self.rng.randint(0, 4), self.rng.randint(0, 60)])

    def _protocol(self) -> list[str]:
        return [
            "--protocol",
            str(self.prompt.folder / f"{self.rng.choices(list(PROTOCOLS), (5, 2, 1, 2))[0]}.toml"),
        ]

    def _methods(self, most: int) -> list[str]:
        chosen = self.rng.sample(METHODS, self.rng.randint(1, most))
        return [str(self.prompt.folder / one) if one.endswith(".py") else one for one in chosen]

    def _run(self) -> tuple[str, ...]:
        words = ["run", *self._methods(2), *self._protocol(), *self.runs, *self.cache]
        words += self.rng.choice([[], [], ["--seeds", "0"], ["--seeds", "2,5"]])
        words += self.rng.choice([[], [], ["--controls"]])
        words += self.rng.choice([[], [], ["--tuned", str(self.prompt.runs / "tuning" / "tiny.json")]])
        return tuple(words)

    def _edit(self) -> tuple[str, ...]:
        self.prompt.write_method(self.rng.randint(1, 3))
        return ()

    def _tune(self) -> tuple[str, ...]:
        return ("tune", *self._methods(2), "--budget", "2", *self._protocol(), *self.runs, *self.cache)

    def _submit(self) -> tuple[str, ...]:
        file = self.rng.choice(self.submissions)
        under = ["--protocol", str(self.prompt.folder / f"{file.parent.name}.toml")]
        return ("submit", str(file), *under, *self.runs, *self.cache)

    def _pack(self) -> tuple[str, ...]:
        mine, out = str(self.prompt.folder / "mine.py"), str(self.prompt.folder / "mine.zip")
        return ("pack", mine, *self._protocol(), "--out", out, *self.runs, *self.cache)

    def _key(self) -> str:
        return self.rng.choice(sorted({key for key, _ in self.prompt.boards()} | {"tiny"}))

    def _withdraw(self) -> tuple[str, ...]:
        method = self.rng.choice(["erm", "groupdro", "febs", "mine", "theirs"])
        return ("withdraw", method, "--board", self._key(), *self.runs)

    def _archive(self) -> tuple[str, ...]:
        return ("board", "archive", self._key(), *self.runs)

    def _restore(self) -> tuple[str, ...]:
        return ("board", "restore", self._key(), *self.runs)

    def _report(self) -> tuple[str, ...]:
        return ("report", "--out", str(self.prompt.site), *self.runs)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def submissions(tmp_path_factory, cache) -> list[Path]:
    """What others packed under two of the protocols, one of them twice, of other code."""
    made = []
    for place, (protocol, edit) in enumerate([("as-it-was", 7), ("as-it-was", 8), ("one-epoch", 7)]):
        prompt = Prompt(tmp_path_factory.mktemp(f"submitter-{place}"), cache)
        file = prompt.folder / "theirs.py"
        file.write_text(METHOD.replace("EDIT", str(edit)))
        under = ["--protocol", str(prompt.folder / f"{protocol}.toml")]
        rest = [*under, "--runs", str(prompt.runs), "--cache", str(cache)]
        (prompt.folder / protocol).mkdir()
        packed = prompt.folder / protocol / "theirs.zip"
        for words in (["run", str(file), *rest], ["pack", str(file), *rest, "--out", str(packed)]):
            status, said = prompt.type(*words)
            assert status == 0, said
        made.append(packed)
    return made


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, SEQUENCES))]
)
def test_nothing_that_was_kept_goes_without_a_word(seed, tmp_path, cache, submissions):
    prompt = Prompt(tmp_path, cache)
    typist, typed, worked = Typist(prompt, submissions, seed), [], 0
    kept = prompt.kept()
    for _ in range(COMMANDS):
        words = typist.next()
        if not words:
            continue
        dies_after = typist.dies_after()
        status, said = prompt.type(*words, dies_after=dies_after)
        typed.append((status, " ".join(words), said))
        worked += status == 0
        now = prompt.kept()
        gone = lost(kept, now, said)
        assert not gone, (gone, typed[-1], [one[:2] for one in typed])
        kept = now
    assert worked > COMMANDS / 4
    assert kept.records
