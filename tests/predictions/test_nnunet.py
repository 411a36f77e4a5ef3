"""An nnU-Net folder end to end: its names, dataset.json and NIfTI, and its summary.json."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.predictions.make import Given, evaluation
from harness.predictions.people import Ask, read


def run(*arguments: str):
    return CliRunner().invoke(cli, ["score", *arguments], prog_name="harness", catch_exceptions=False)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture(scope="module")
def scored(nnunet, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "page"
    done = run(
        *nnunet.places, "--name", "nnU-Net v2", "--attribute", "sex", "--attribute", "site", "--out", str(out)
    )
    assert done.exit_code == 0, done.output
    return out, done.output


def test_every_case_has_the_dice_of_its_arrays_by_the_regions_of_dataset_json(nnunet, scored):
    with (scored[0] / "cases.csv").open() as file:
        rows = {(row["sample"], row["structure"]): row for row in csv.DictReader(file)}
    assert len(rows) == 2 * len(nnunet.truths)
    for case, truth in nnunet.truths.items():
        predicted = nnunet.predictions[case]
        assert float(rows[case, "kidney"]["dice"]) == dice(predicted > 0, truth > 0)
        assert float(rows[case, "tumour"]["dice"]) == dice(predicted == 2, truth == 2)
        assert rows[case, "kidney"]["patient"] == nnunet.table.set_index("case")["patient"][case]


def test_groups_are_means_over_the_cases_of_the_table_whatever_its_order(nnunet, scored):
    whole = json.loads((scored[0] / "evaluation.json").read_text())
    groups = {(g["structure"], g["group"]): g for g in whole["tables"]["groups"] if g["attribute"] == "sex"}
    for sex in ("F", "M"):
        cases = nnunet.table[nnunet.table["sex"] == sex]["case"]
        expected = np.mean([dice(nnunet.predictions[c] > 0, nnunet.truths[c] > 0) for c in cases])
        assert groups["kidney", sex]["estimate"] == pytest.approx(expected, abs=1e-12)
        assert groups["kidney", sex]["patients"] == len(cases) // 2


def test_distances_are_in_the_millimetres_of_the_header(nnunet, scored):
    from medpy.metric.binary import hd95

    with (scored[0] / "cases.csv").open() as file:
        rows = {(row["sample"], row["structure"]): row for row in csv.DictReader(file)}
    for case in list(nnunet.truths)[:4]:
        # The affine's columns are 0.7, 0.8 and 2.5 mm long.
        expected = hd95(nnunet.predictions[case] > 0, nnunet.truths[case] > 0, voxelspacing=(0.7, 0.8, 2.5))
        assert float(rows[case, "kidney"]["hd95"]) == pytest.approx(expected, abs=1e-6)


def test_the_page_says_what_each_number_means_and_has_a_print_style(scored):
    page = (scored[0] / "index.html").read_text()
    for text in ("predictions only", "more than chance makes", "It does not say why", "@media print", "site"):
        assert text in page
    assert "Self-reported" not in page
    assert "Wrote" in scored[1]


def summary(nnunet, file, empty: str | None = None) -> None:
    """Write nnU-Net's summary.json: keys are labels, or regions as '(1, 2)', NaN where nothing is there."""
    cases = []
    for case, truth in nnunet.truths.items():
        metrics = {}
        for key, labels in {"(1, 2)": (1, 2), "2": (2,)}.items():
            p, t = np.isin(nnunet.predictions[case], labels), np.isin(truth, labels)
            if case == empty and key == "2":
                p, t = p & False, t & False
            tp, fp, fn = int((p & t).sum()), int((p & ~t).sum()), int((~p & t).sum())
            some = tp + fp + fn
            metrics[key] = {
                "Dice": 2 * tp / (2 * tp + fp + fn) if some else float("nan"),
                "IoU": tp / some if some else float("nan"),
                "FP": fp, "TP": tp, "FN": fn, "TN": 0, "n_pred": fp + tp, "n_ref": fn + tp,
            }  # fmt: skip
        cases.append(
            {
                "metrics": metrics,
                "prediction_file": f"/x/{case}.nii.gz",
                "reference_file": f"/y/{case}.nii.gz",
            }
        )
    file.write_text(json.dumps({"foreground_mean": {}, "mean": {}, "metric_per_case": cases}))


def test_its_summary_json_gives_the_same_dice_and_is_marked_self_reported(nnunet, tmp_path):
    (tmp_path / "dataset.json").write_text((nnunet.folder / "predictions" / "dataset.json").read_text())
    summary(nnunet, tmp_path / "summary.json")
    frame = read(nnunet.folder / "patients.csv")
    ask = Ask(attributes=("sex",))
    told = evaluation(Given((str(tmp_path / "summary.json"),), ("a",), None, frame, "table", ask=ask))
    place, truth = str(nnunet.folder / "predictions"), str(nnunet.folder / "labelsTs")
    ours = evaluation(Given((place,), ("a",), truth, frame, "table", ask=ask))
    assert told.obtained == "self-reported scores"
    for mine, theirs in zip(ours.groups.itertuples(), told.groups.itertuples(), strict=True):
        assert (mine.structure, mine.group, mine.patients) == (
            theirs.structure,
            theirs.group,
            theirs.patients,
        )
        assert (mine.estimate, mine.low, mine.high) == (theirs.estimate, theirs.low, theirs.high)


def test_what_nnunet_leaves_out_as_nan_counts_as_found_and_is_said(nnunet, tmp_path):
    case = next(iter(nnunet.truths))
    summary(nnunet, tmp_path / "summary.json", empty=case)
    frame = read(nnunet.folder / "patients.csv")
    told = evaluation(Given((str(tmp_path / "summary.json"),), ("a",), None, frame, "table"))
    own = told.scores[(told.scores["sample"] == case) & (told.scores["structure"] == "label 2")]
    assert own["dice"].tolist() == [1.0]
    assert any("neither in truth nor prediction" in note for note in told.notes)


@pytest.mark.slow
def test_probabilities_beside_the_maps_are_read_in_nnunets_axes_and_give_calibration(nnunet, tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for file in (nnunet.folder / "predictions").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for case, labels in nnunet.predictions.items():
        soft = np.stack([0.05 + 0.85 * (labels == k) for k in range(3)]).astype(np.float32)
        # Stored [K, z, y, x], as SimpleITK has arrays.
        np.savez_compressed(folder / f"{case}.npz", probabilities=soft.transpose(0, 3, 2, 1))
    (folder / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "kidney": 1, "tumour": 2}, "file_ending": ".nii.gz"})
    )
    frame = read(nnunet.folder / "patients.csv")
    truth = str(nnunet.folder / "labelsTs")
    found = evaluation(Given((str(folder),), ("a",), truth, frame, "table", ask=Ask(attributes=("sex",))))
    own = found.calibration.set_index(["sample", "structure"])
    case = next(iter(nnunet.truths))
    true, likely = nnunet.truths[case] == 2, nnunet.predictions[case] == 2
    near = np.ones(true.shape, bool)  # a probability of 0.05 is beyond 0.02 everywhere: the box is the whole
    expected = ((0.05 + 0.85 * likely - true)[near] ** 2).mean()
    assert own.loc[(case, "tumour"), "brier"] == pytest.approx(expected, abs=1e-6)
    assert set(found.calibrated["metric"]) == {"brier", "ece"}
