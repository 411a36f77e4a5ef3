"""A site that is built with what was kept is the one that is built from nothing."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_records import World, make_store

import leaderboard
from harness import equity
from harness.store import Store, files, names
from leaderboard import kept

WORLD = World(
    methods=("erm", "groupdro"),
    attributes=("gender", "ethnicity"),
    structures=("cup",),
    seeds=(0, 1),
    samples=60,
    images=True,
    controls={"groupdro": ("groups shuffled",)},
)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(autouse=True)
def _no_syncs(monkeypatch):
    """What is built here is read by this process alone."""
    monkeypatch.setattr(files, "_sync", lambda path: None)


class Board:
    """Records that are edited, and a cache that lives through it."""

    def __init__(self, folder: Path) -> None:
        self.store = make_store(folder / "runs", WORLD)
        self.folder, self.cache, self.images = folder, folder / "cache", True
        self.workers: int | None = None
        self.whole = folder / "whole"
        shutil.copytree(self.store.root, self.whole)

    def built(self, cache: Path | None) -> dict[str, bytes]:
        out = self.folder / ("with" if cache else "without")
        leaderboard.build(self.store.root, out, self.images, cache, self.workers)
        return content(out)

    def entries(self) -> list[Path]:
        return sorted(path for path in (self.cache / kept.FOLDER).rglob("*") if path.is_file())

    def trial(self, rng: random.Random) -> str:
        return rng.choice(self.store.ids())

    def take_a_record_off(self, rng: random.Random) -> None:
        if len(self.store.ids()) > 4:
            shutil.rmtree(self.store.path(self.trial(rng)))

    def add_a_record(self, rng: random.Random) -> None:
        missing = sorted(set(Store(self.whole).ids()) - set(self.store.ids()))
        if missing:
            trial = rng.choice(missing)
            shutil.copytree(Store(self.whole).path(trial), self.store.path(trial))

    def change_a_score(self, rng: random.Random) -> None:
        path = self.store.path(self.trial(rng)) / names.SCORES
        frame = pd.read_parquet(path)
        frame.loc[rng.randrange(len(frame)), "dice"] = rng.random()
        frame.to_parquet(path, index=False)

    def change_what_a_record_says(self, rng: random.Random) -> None:
        path = self.store.path(self.trial(rng)) / names.RECORD
        told = json.loads(path.read_text())
        told["method"]["title"] = f"Title {rng.randrange(1000)}"
        told["cost"]["fit_seconds"] += 1
        path.write_text(json.dumps(told))

    def change_a_prediction(self, rng: random.Random) -> None:
        path = self.store.path(self.trial(rng)) / names.PREDICTIONS
        with np.load(path) as arrays:
            samples, labels = arrays["samples"], arrays["labels"].copy()
        labels[:, rng.randrange(20, 40)] = rng.randrange(3)
        np.savez_compressed(path, samples=samples, labels=labels)

    def change_a_curve(self, rng: random.Random) -> None:
        path = self.store.path(self.trial(rng)) / names.CURVE
        frame = pd.read_csv(path)
        frame.loc[rng.randrange(len(frame)), "value"] = rng.random()
        frame.to_csv(path, index=False)

    def spoil_a_curve(self, rng: random.Random) -> None:
        path = self.store.path(self.trial(rng)) / names.CURVE
        path.write_bytes(path.read_bytes()[:-7] + b"x")

    def spoil_a_prediction(self, rng: random.Random) -> None:
        path = self.store.path(self.trial(rng)) / names.PREDICTIONS
        path.write_bytes(path.read_bytes()[:-200])

    def move_a_patient(self, rng: random.Random) -> None:
        path = self.store.board_file("quick", names.SUBJECTS)
        frame = pd.read_parquet(path)
        own = frame["patient"] == rng.choice(list(frame["patient"]))
        frame.loc[own, "gender"] = rng.choice(["Female", "Male", None])
        frame.to_parquet(path, index=False)

    def change_an_image(self, rng: random.Random) -> None:
        path = self.store.board_file("quick", names.CASES)
        with np.load(path) as arrays:
            found = dict(arrays)
        found["images"] = found["images"].copy()
        found["images"][:, :, rng.randrange(64)] = rng.randrange(255)
        np.savez_compressed(path, **found)

    def leave_images_out_or_not(self, rng: random.Random) -> None:
        self.images = not self.images

    def damage_the_cache(self, rng: random.Random) -> None:
        for path in rng.sample(self.entries(), min(40, len(self.entries()))):
            data = path.read_bytes()
            spoilt = {
                "cut": data[: rng.randrange(len(data))],
                "turned": bytes([data[0] ^ 1, *data[1:]]),
                "turned late": data[:-1] + bytes([data[-1] ^ 128]),
                "another's": rng.choice(self.entries()).read_bytes(),
                "empty": b"",
            }
            path.write_bytes(spoilt[rng.choice(sorted(spoilt))])

    def lose_some_of_the_cache(self, rng: random.Random) -> None:
        for path in rng.sample(self.entries(), len(self.entries()) // 2):
            path.unlink()


EDITS = (
    *("take_a_record_off", "add_a_record", "change_a_score", "change_what_a_record_says", "move_a_patient"),
    *("change_a_prediction", "spoil_a_prediction", "change_an_image", "leave_images_out_or_not"),
    *("change_a_curve", "spoil_a_curve"),
    *("damage_the_cache", "lose_some_of_the_cache", "change_a_score"),
)


def compare(folder: Path, edits: list[str], seed: int, together: int) -> None:
    board, rng = Board(folder), random.Random(seed)
    board.built(board.cache)
    for some in (edits[i : i + together] for i in range(0, len(edits), together)):
        for edit in some:
            getattr(board, edit)(rng)
        assert board.built(board.cache) == board.built(None), (some, edits, seed)


def test_after_every_kind_of_edit_the_bytes_are_those_from_nothing(tmp_path):
    order = random.Random(3).sample(EDITS, len(EDITS))
    compare(tmp_path, order, 3, together=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1))
def test_after_random_edits_the_bytes_are_those_from_nothing(tmp_path, seed):
    compare(tmp_path, random.Random(seed).choices(EDITS, k=8), seed, together=1)


def test_one_new_trial_is_all_that_is_computed_again(tmp_path, monkeypatch):
    board = Board(tmp_path)
    board.workers = 1  # what is counted here is counted in this process alone
    new = next(
        one.id
        for one in board.store.records()
        if (one.method.name, one.attribute, one.seed) == ("groupdro", "gender", 1)
    )
    shutil.rmtree(board.store.path(new))
    board.built(board.cache)
    computed = Counter()
    each_of = kept.Kept.each

    def each(self, name, inputs, make):
        def counted(places):
            found = make(places)
            computed[name] += len(places)
            if name.endswith("tables.tables"):
                computed[name, tuple(inputs[0][0][0].order)] += 1
            return found

        return each_of(self, name, inputs, counted)

    monkeypatch.setattr(kept.Kept, "each", each)
    board.built(board.cache)
    assert computed == {}
    shutil.copytree(Store(board.whole).path(new), board.store.path(new))
    board.built(board.cache)
    # All methods of its attribute are compared with it; of the other attribute nothing is another.
    tables = "harness.equity.tables.tables"
    assert computed[tables, ("Female", "Male")] == computed[tables] > 0
    # The other method's own draws are those of before, and so are its intervals and its noise.
    assert computed["harness.equity.summary.summarise"] == computed[tables]
    assert computed["harness.equity.noise.noise_floor"] == computed[tables]
    assert 0 < computed["leaderboard.draw.svg._drawn"] < 30
    before = computed.copy()
    board.built(board.cache)
    assert computed == before


def test_a_cache_that_takes_nothing_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("where the folder should be")
    place = kept.Kept(tmp_path / "file", "code")
    assert [place.get("name", [], lambda i=i: i) for i in range(2)] == [0, 1]
    place.tidy()

    def refused(path, data):
        raise PermissionError(13, "read-only", str(path))

    monkeypatch.setattr(files, "mark", refused)
    place = kept.Kept(tmp_path / "folder", "code")
    assert [place.get("name", [], lambda i=i: i) for i in range(2)] == [0, 1]
    place.tidy()


def tables(seed: int = 0, groups: int = 3, higher: bool = True) -> equity.Tables:
    return equity.tables(scores(seed, groups, higher), "erm", ranked=higher, views=2)


def scores(seed: int = 0, groups: int = 3, higher: bool = True) -> equity.Scores:
    rng = np.random.default_rng(seed)
    own = np.array([f"g{i}" for i in rng.integers(0, groups, 90)], object)
    own[:3] = None
    values = {name: np.clip(rng.normal(0.8, 0.1, (3, 90)), 0, 1) for name in ("erm", "a", "b")}
    values["b"][2] = np.nan
    return equity.Scores(values, own, np.arange(90) // 2, higher_is_better=higher)


@pytest.mark.parametrize(
    ("groups", "higher"), [(2, True), (2, False), (9, True), (1, True)], ids=["fractions", "mm", "few", "one"]
)
def test_tables_come_back_as_they_were(tmp_path, groups, higher):
    one, place = tables(0, groups, higher), kept.Kept(tmp_path, "code")
    for found in (place.get("t", [], lambda: one), place.get("t", [], lambda: pytest.fail("it was kept"))):
        for field in dataclasses.fields(one):
            mine, other = getattr(found, field.name), getattr(one, field.name)
            pd.testing.assert_frame_equal(mine, other, check_exact=True, check_column_type=True)
            for column in other:
                assert [type(v) for v in mine[column]] == [type(v) for v in other[column]]
        pd.testing.assert_frame_equal(found.tidy, one.tidy, check_exact=True)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.builds(np.float64, st.floats())
    | st.builds(np.bool_, st.booleans())
    | st.builds(lambda values: np.array(values, np.float32), st.lists(st.floats(width=32))),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_a_value_is_read_back_as_it_was(value):
    packed = kept._packed(value)
    assert kept._packed(kept._value(packed)) == packed
    assert repr(kept._value(packed)) == repr(value)


@given(st.lists(VALUES, min_size=2, max_size=2))
@settings(max_examples=100, deadline=None)
def test_unlike_inputs_have_unlike_keys(pair):
    one, other = ([], [])
    kept._feed(one.append, pair[0])
    kept._feed(other.append, pair[1])
    alike = kept._packed(pair[0]) == kept._packed(pair[1])
    assert (b"".join(one) == b"".join(other)) == alike


def test_everything_about_an_input_is_in_its_key(tmp_path):
    place, whole = kept.Kept(tmp_path, "code"), np.arange(12.0).reshape(3, 4)
    nan = whole.copy()
    nan[1, 1] = np.nan
    once = scores()
    moved = dataclasses.replace(once, patients=once.patients[::-1].copy())
    bit = {name: rows.copy() for name, rows in once.by_method.items()}
    bit["a"][0, 5] = np.nextafter(bit["a"][0, 5], 2)
    backwards = dict(reversed(once.by_method.items()))
    inputs = [
        *(
            whole,
            nan,
            whole.astype(np.float32),
            whole.reshape(4, 3),
            np.asfortranarray(whole),
            whole[:, ::-1],
        ),
        *(["ab", "c"], ["a", "bc"], ("ab", "c"), ["abc"], [b"abc"], [["abc"]], "abc", b"abc"),
        *(0, 0.0, -0.0, False, None, "", np.float64(0), np.bool_(False)),
        *(
            once,
            moved,
            dataclasses.replace(once, by_method=bit),
            dataclasses.replace(once, by_method=backwards),
        ),
        *(dataclasses.replace(once, higher_is_better=False), dataclasses.replace(once, min_patients=9)),
    ]
    keys = [place._key("name", one) for one in inputs]
    assert len(set(keys)) == len(inputs)
    assert place._key("other", whole) != keys[0]
    assert kept.Kept(tmp_path, "other code")._key("name", whole) != keys[0]
    assert place._key("name", whole.copy()) == keys[0]
    with pytest.raises(TypeError, match="no input of what is kept"):
        place._key("name", object())


def test_no_damage_is_ever_believed(tmp_path):
    place, value = kept.Kept(tmp_path, "code"), {"text": "said", "array": np.arange(3)}
    made = itertools.count()

    def make():
        next(made)
        return value

    place.get("one", [1], make)
    (path,) = place.folder.iterdir()
    whole = path.read_bytes()
    spoilt = [whole[:end] for end in range(len(whole))]
    spoilt += [whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :] for i in range(len(whole))]
    place.get("two", [1], lambda: {"text": "another"})
    spoilt += [whole + b"x", *(one.read_bytes() for one in place.folder.iterdir() if one != path)]
    for count, data in enumerate(spoilt, start=1):
        path.write_bytes(data)
        assert repr(place.get("one", [1], make)) == repr(value)
        assert next(made) == 2 * count  # computed again, and counted here
        assert path.read_bytes() == whole


def test_what_fails_is_not_kept(tmp_path):
    place = kept.Kept(tmp_path, "code")
    with pytest.raises(ZeroDivisionError):
        place.get("name", [], lambda: 1 / 0)
    assert place.get("name", [], lambda: 7) == 7


def test_many_may_keep_the_same_at_once(tmp_path):
    found, start = [], threading.Barrier(8)

    def work():
        place = kept.Kept(tmp_path, "code")
        start.wait()
        found.extend(place.get("name", [i % 5], lambda i=i: b"x" * 5_000 + bytes([i % 5])) for i in range(40))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert Counter(found) == {b"x" * 5_000 + bytes([i]): 64 for i in range(5)}
    place = kept.Kept(tmp_path, "code")
    assert [place.get("name", [i], lambda: None)[-1] for i in range(5)] == list(range(5))
    assert len(list(place.folder.iterdir())) == 5


def test_what_nobody_asked_for_in_a_month_goes(tmp_path):
    place, old = kept.Kept(tmp_path, "code"), kept.Kept(tmp_path, "old code")
    for i in range(3):
        place.get("name", [i], lambda i=i: i)
    old.get("name", [0], lambda: 0)
    first, second, third = sorted(place.folder.iterdir())
    long_ago = time.time() - kept.UNUSED - 60
    for path in (first, old.folder):
        os.utime(path, (long_ago, long_ago))
    place.tidy()
    assert sorted(place.folder.iterdir()) == [second, third]
    assert not old.folder.exists()


def test_a_value_that_is_asked_for_stays(tmp_path):
    place = kept.Kept(tmp_path, "code")
    place.get("name", [], lambda: 1)
    (path,) = place.folder.iterdir()
    long_ago = time.time() - kept.UNUSED - 60
    os.utime(path, (long_ago, long_ago))
    place.get("name", [], lambda: pytest.fail("it was kept"))
    place.tidy()
    assert path.exists()


def test_where_it_is_too_much_the_oldest_goes(tmp_path, monkeypatch):
    place = kept.Kept(tmp_path, "code")
    for i in range(4):
        place.get("name", [i], lambda i=i: b"x" * 1000)
    paths = sorted(place.folder.iterdir())
    for age, path in enumerate(paths):
        os.utime(path, (time.time() - 100 * age,) * 2)
    monkeypatch.setattr(kept, "MOST", sum(path.stat().st_size for path in paths[:2]))
    place.tidy()
    assert sorted(place.folder.iterdir()) == paths[:2]


def test_other_code_is_another_key(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("x = 1\n")
    once = kept.sources(tmp_path)
    (tmp_path / "a" / "b.py").write_text("x = 2\n")
    assert kept.sources(tmp_path) != once
    there = kept.sources(Path(equity.__file__).parents[1])
    assert {"equity/pairs.py", "store/formats.py", "multiplicity.py"} <= there.keys()
    assert {"draw/cases.py", "compute/sections.py"} <= kept.sources(Path(leaderboard.__file__).parent).keys()
    assert files.__file__.endswith("store/files.py")
