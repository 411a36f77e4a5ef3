"""`from harness import evaluate`: arrays, tensors and images give the numbers of the command to the bit."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest
import worlds
from click.testing import CliRunner

from harness import evaluate
from harness.cli import cli
from harness.errors import HarnessError
from harness.predictions import api

LABELS = {"kidney": [1, 2], "tumour": [2]}


@pytest.fixture(scope="module")
def told(pictures) -> dict:
    """What the command says as JSON."""
    place, *rest = pictures.places
    options = ["--name", "model", "--attribute", "sex", "--structures", "kidney=1,2;tumour=2", "--json"]
    done = CliRunner().invoke(
        cli, ["score", place, *rest, *options], prog_name="harness", catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["tables"]


def same(frame: pd.DataFrame, rows: list[dict]) -> None:
    other = pd.DataFrame(rows)
    for column in ("group", "estimate", "low", "high", "p", "detectable"):
        if column in frame:
            assert frame[column].tolist() == other[column].tolist(), column


def tensors(arrays: list[np.ndarray]):
    import torch

    return torch.from_numpy(np.stack(arrays))


GIVEN = {
    "an array": np.stack,
    "a list of arrays": list,
    "a tensor": tensors,
    "a tuple": tuple,
}


@pytest.mark.parametrize(
    "how", ["an array", *(pytest.param(one, marks=pytest.mark.slow) for one in list(GIVEN)[1:])]
)
def test_arrays_in_the_order_of_the_table_give_the_numbers_of_the_command(how, pictures, told):
    make = GIVEN[how]
    order = pictures.table.sample(frac=1, random_state=3)
    pred, truth = (
        make([found[c] for c in order["case"]]) for found in (pictures.predictions, pictures.truths)
    )
    found = evaluate(pred, truth, order, id="case", attributes=["sex"], structures=LABELS)
    same(found.groups, told["groups"])
    same(found.gaps, told["gaps"])


def test_mappings_by_id_and_folders_do_too(pictures, told):
    found = evaluate(
        pictures.predictions,
        pictures.truths,
        pictures.table,
        id="case",
        attributes=["sex"],
        structures=LABELS,
    )
    same(found.groups, told["groups"])
    place, _, truth, _, table = pictures.places
    found = evaluate(place, truth, table, attributes=["sex"], structures=LABELS)
    same(found.groups, told["groups"])


def test_nibabel_images_are_placed_by_their_headers(nnunet):
    pred = {c: nibabel.Nifti1Image(a, worlds.AFFINE).as_reoriented(np.array([[1, -1], [0, 1], [2, 1]]))
            for c, a in nnunet.predictions.items()}  # fmt: skip
    truth = {c: nibabel.Nifti1Image(a, worlds.AFFINE) for c, a in nnunet.truths.items()}
    found = evaluate(pred, truth, nnunet.table, attributes=["sex"], structures=LABELS)
    plain = evaluate(nnunet.predictions, nnunet.truths, nnunet.table, attributes=["sex"], structures=LABELS)
    assert found.scores["dice"].tolist() == plain.scores["dice"].tolist()
    assert (found.unit, plain.unit) == ("mm", "pixels")


def test_a_notebook_shows_who_each_group_and_what_the_gap_says(pictures):
    found = evaluate(
        pictures.predictions, pictures.truths, pictures.table, attributes=["sex"], structures=LABELS
    )
    shown = found._repr_html_()
    assert "48 cases of 24 patients" in shown
    assert "<table" in shown
    assert "more than chance makes" in shown


def test_scores_of_others_need_no_truth(pictures, tmp_path):
    table = pictures.table.assign(dice=np.linspace(0.5, 1, len(pictures.table)))
    table[["case", "dice"]].to_csv(tmp_path / "scores.csv", index=False)
    found = evaluate(tmp_path / "scores.csv", None, pictures.table, attributes=["sex"], id="case")
    assert found.obtained == "self-reported scores"
    expected = table.groupby("sex")["dice"].mean()
    means = found.groups.set_index("group")["estimate"]
    assert means["F"] == pytest.approx(expected["F"], abs=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, t, f: (p[:-1], t, f), "have 47, 48 and 48 cases"),
        (lambda p, t, f: (p, None, f), "was given no truth"),
        (lambda p, t, f: (p, t, f.rename(columns={"case": "x"})), "which column has the cases' ids"),
        (lambda p, t, f: (p, t, [1]), "table is list"),
        (lambda p, t, f: ([a[:-1] for a in p], t, f), "give --resample nearest"),
        (lambda p, t, f: ([a.astype(object) for a in p], t, f), "values of type object"),
    ],
)
def test_what_does_not_fit_is_one_sentence(change, said, pictures):
    pred, truth = (
        [found[c] for c in pictures.table["case"]] for found in (pictures.predictions, pictures.truths)
    )
    pred, truth, frame = change(pred, truth, pictures.table)
    with pytest.raises(HarnessError, match=said):
        evaluate(pred, truth, frame, attributes=["sex"], structures=LABELS)


def test_the_examples_of_the_docstring_run():
    found = doctest.testmod(api)
    assert (found.failed, found.attempted > 5) == (0, True)


def test_no_torch_is_imported():
    code = "import sys; from harness import evaluate, predictions; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
