"""What people hand in by mistake: the right number or one sentence, and never a wrong number in silence."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

from harness.errors import HarnessError
from harness.predictions import coding, files, gather, people
from harness.predictions.geometry import as_seen, fitted
from harness.predictions.grids import Grid
from harness.predictions.make import Given, _people
from harness.predictions.people import Ask, of_cases
from harness.predictions.scored import Pair
from harness.predictions.suspicion import Suspicion

IDS = [f"case_{i:02d}" for i in range(12)]
SEX = ["F", "M"] * 6


def table(folder: Path, data: str | bytes) -> people.People:
    (folder / "t.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    return of_cases(people.read(folder / "t.csv"), IDS, Ask(attributes=("sex",)), "t.csv")


def text(separator: str = ",", end: str = "\n", more: str = "") -> str:
    lines = [("id", "sex"), *zip(IDS, SEX, strict=True)]
    return end.join(separator.join(line) + more for line in lines) + end


SAVED = {
    "a mark at the start and semicolons": "\ufeff" + text(";"),
    "a first line that names the separator": "sep=;\n" + text(";"),
    "the same of Windows": "\ufeffsep=\t\r\n" + text("\t", "\r\n"),
    "columns that were once used": text(";", more=";;"),
    "ends of lines of old": text(end="\r"),
    "blank lines": text().replace("\n", "\n\n"),
    "quotes": "\n".join(f'"{a}","{b}"' for a, b in [("id", "sex"), *zip(IDS, SEX, strict=True)]),
}


@pytest.mark.parametrize("how", SAVED)
def test_a_table_is_the_same_however_a_spreadsheet_saves_it(how, tmp_path):
    assert table(tmp_path, SAVED[how]).table["sex"].tolist() == SEX


def frame(ids, **more) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, "sex": SEX[: len(ids)]} | more)


NUMBERED = [str(i + 1) for i in range(12)]
HUNDREDS = [f"{one}00000" for one in NUMBERED]
REFUSED = {
    "the number of the row has every id, the ids one less": (
        frame([*reversed(NUMBERED[1:]), "99"], row=NUMBERED),
        NUMBERED,
        "'id' has 11 .* 'row' has 12; say with --id",
    ),
    "dates": (frame([f"{one}-Jan" for one in NUMBERED]), [f"1-{one}" for one in NUMBERED], "made of ids"),
    "numbers that were shortened": (frame([f"{one}E+05" for one in NUMBERED]), HUNDREDS, "was shortened by"),
    "a row twice": (pd.concat([frame(IDS), frame(IDS[:1])]), IDS, "'case_00' is there 2 times"),
    "a column twice": (
        pd.DataFrame(list(zip(IDS, SEX, SEX, strict=True)), columns=["id", "sex", "sex"]),
        IDS,
        "stands twice",
    ),
    "two columns of numbers": (
        pd.DataFrame({"a": NUMBERED, "b": NUMBERED[::-1], "sex": SEX}),
        NUMBERED,
        "could be the column of ids",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_ids_of_which_nobody_knows_whose_they_are_are_refused(what):
    rows, cases, said = REFUSED[what]
    with pytest.raises(HarnessError, match=said) as told:
        of_cases(rows, cases, Ask(attributes=("sex",)), "t.csv")
    assert "\n" not in str(told.value)


def test_ids_that_are_prefixes_of_each_other_or_have_dots_are_those_that_they_are():
    for ids in (
        [f"c{i}" for i in range(12)],
        [f"1.2.840.{i}.5" for i in range(12)],
        [f"{i}.5" for i in range(12)],
    ):
        found = of_cases(frame(ids[::-1]), ids, Ask(attributes=("sex",)), "t")
        assert found.table["sex"].tolist() == SEX[::-1]


@given(st.lists(st.from_regex(r"[A-Za-z]{0,3}0{0,2}[0-9]{1,3}(\.[0-9])?", fullmatch=True),
                min_size=2, max_size=12, unique=True), st.randoms(use_true_random=False))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_each_case_has_the_row_that_is_written_like_it(ids, random):
    rows = list(enumerate(ids))
    random.shuffle(rows)
    given_rows = pd.DataFrame({"id": [name for _, name in rows], "mark": [f"m{i}" for i, _ in rows]})
    ask = Ask(id="id", attributes=("mark",))
    try:
        found = of_cases(given_rows, ids, ask, "t").table
    except HarnessError:
        return
    assert found["mark"].tolist() == [f"m{i}" for i in range(len(ids))]


def test_two_eyes_without_a_column_of_patients_are_said():
    eyes = [f"p{i // 2}_{'LR'[i % 2]}" for i in range(12)]
    notes = " ".join(of_cases(frame(eyes), eyes, Ask(attributes=("sex",)), "t").notes)
    assert "'p0_L' and 'p0_R' read like one person's" in notes
    assert "read like one person's" not in " ".join(of_cases(frame(IDS), IDS, Ask(), "t").notes)


def named(folder: Path, names: list[str]) -> files.Found:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"")
    return files.find(str(folder), None)


LEFT = [f"p{i}_left.png" for i in range(4)]


def test_predictions_of_left_eyes_alone_are_those_of_the_left_eyes(tmp_path):
    both = named(tmp_path / "t", [*LEFT, *(one.replace("left", "right") for one in LEFT)])
    found = gather.paired(named(tmp_path / "p", LEFT), both)
    assert {name: (p.maps[""].name, t.maps[""].name) for name, (p, t) in found.cases.items()} == {
        f"p{i}_left": (f"p{i}_left.png", f"p{i}_left.png") for i in range(4)
    }
    assert sum("a truth without a prediction" in one for one in found.unpaired) == 4


def test_an_ending_that_all_share_is_in_the_id_where_the_table_has_it(tmp_path):
    found = gather.paired(named(tmp_path / "p", LEFT), named(tmp_path / "t", LEFT))
    cases = list(found.cases)
    for ids in ([f"p{i}_left" for i in range(4)], [f"p{i}" for i in range(4)]):
        rows = pd.DataFrame({"id": ids[::-1], "sex": ["F", "F", "M", "M"]})
        who = _people(Given((), (), table=rows, ask=Ask(attributes=("sex",))), cases, [""] * 4, found.tail)
        assert who.table["sample"].tolist() == cases
        assert who.table["sex"].tolist() == ["M", "M", "F", "F"]


def test_eyes_that_a_rule_tells_from_their_patients_are_cases_of_their_own(tmp_path):
    for i in range(3):
        for side in "LR":
            (tmp_path / f"p{i}_{side}.png").write_bytes(b"")
    found = files.find(str(tmp_path), "{patient}_{id}.png").cases
    assert {name: case.patient for name, case in found.items()} == {
        f"p{i}_{side}": f"p{i}" for i in range(3) for side in "LR"
    }


ORIENTATIONS = st.tuples(
    st.permutations(range(3)), st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3)
)


@given(ORIENTATIONS, ORIENTATIONS)
@settings(max_examples=60, deadline=None)
def test_a_volume_stored_in_any_of_48_ways_is_the_same_voxels(one, other):
    rng = np.random.default_rng(0)
    array, affine = rng.integers(0, 3, (4, 5, 6)), np.array(
        [[0.0, -0.8, 0, 30], [0.7, 0, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]]
    )  # fmt: skip

    def stored(how) -> Grid:
        turn = np.array(list(zip(*how, strict=True)))
        turned = affine @ inv_ornt_aff(turn, array.shape)
        return Grid(apply_orientation(array, turn), "x", turned, (1.0, 1.0, 1.0), channels_last=True)

    truth = stored(other)
    assert np.array_equal(fitted(stored(one), truth), truth.array)


@given(ORIENTATIONS)
@settings(max_examples=40, deadline=None)
def test_a_slice_is_seen_the_same_way_however_it_is_stored(how):
    canonical = np.arange(4 * 5 * 3).reshape(4, 5, 3)  # to the right, the front and up
    turn = np.array(list(zip(*how, strict=True)))
    turned = np.eye(4) @ inv_ornt_aff(turn, canonical.shape)
    array = apply_orientation(canonical, turn)
    through = int(np.abs(turned[2, :3]).argmax())
    slices = as_seen(np.moveaxis(array, through, 0), turned, through)
    if turned[2, through] < 0:
        slices = slices[::-1]
    # By hand: the front is above, the patient's right at the left.
    assert np.array_equal(slices, np.moveaxis(canonical, 2, 0).transpose(0, 2, 1)[:, ::-1, ::-1])
    assert nibabel.aff2axcodes(turned)[through] in "SI"


def disc(side: int, row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.ogrid[:side, :side]
    return (y - row) ** 2 + (x - column) ** 2 < radius**2


def seen(change, structures, n: int = 12) -> Suspicion:
    rng = np.random.default_rng(0)
    found = Suspicion.of([str(i) for i in range(n)], (1, 2))
    for i in range(n):
        row, column, radius = rng.uniform(44, 46), rng.uniform(47, 49), rng.uniform(20, 24)
        sets = disc(96, row, column, radius) + 2 * disc(96, row, column, radius * 0.65)
        found.see(str(i), Pair(change(sets.astype(np.uint8)), sets.astype(np.uint8), structures, None))
    return found


CUP_AND_DISC = {"disc": (1, 3), "cup": (2, 3)}


def test_channels_of_cup_and_disc_in_the_wrong_order_are_refused():
    exchanged = seen(lambda sets: np.array([0, 2, 1, 3], np.uint8)[sets], CUP_AND_DISC)
    with pytest.raises(HarnessError, match="look exchanged .*'cup' as 'disc'"):
        exchanged.check("p")
    assert seen(lambda sets: sets, CUP_AND_DISC).check("p") == ()


def test_a_round_structure_that_lies_turned_is_said_where_its_score_hardly_shows_it():
    (said,) = seen(lambda sets: sets.T.copy(), CUP_AND_DISC).check("p")
    assert (
        "12 of 12 predictions looked at fit their truths better with their first two axes exchanged" in said
    )
    # A worse model that lies the right way says nothing.
    assert seen(lambda sets: np.where(np.roll(sets, 3, 1) == sets, sets, 0), CUP_AND_DISC).check("p") == ()


def test_255_beside_another_label_is_asked_after_and_alone_is_the_structure():
    with pytest.raises(HarnessError, match="the label 255 beside 1: .*ignore=255"):
        coding.discovered([0, 1, 255], "truths")
    assert coding.discovered([0, 255], "truths").structures == {"structure": (255,)}
    with pytest.raises(HarnessError, match="say --relabel 255=1"):
        coding.discovered([0, 1], "truths").codes(np.array([[0, 255]]), "p.png")
    with pytest.raises(HarnessError, match="say --relabel 1=255"):
        coding.discovered([0, 255], "truths").codes(np.array([[0, 1]]), "p.png")
