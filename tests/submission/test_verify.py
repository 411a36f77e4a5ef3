"""Verification: an honest submission passes, and any change to it fails for the reason that is true."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from forge import better, flipped, forged, npz, one_pixel, parquet, rewritten, with_records
from tiny import CPU

from harness.errors import HarnessError
from harness.submission import archive
from harness.submission.agreement import recompute
from harness.submission.rerun import rerun
from harness.submission.verify import verify


def failures(world, submission) -> dict[str, str]:
    return {finding.what: finding.why for finding in verify(submission, world.yardstick).failed}


def test_an_honest_submission_is_confirmed_without_running_any_of_it(world, monkeypatch):
    monkeypatch.delenv("MY_METHOD_WAS_IMPORTED", raising=False)
    told: list[tuple[str, int, int]] = []
    report = verify(world.submission, world.yardstick, lambda *one: told.append(one))
    trials = len(report.parsed)
    assert told == [("Recomputing the scores, trials", done, trials) for done in range(trials)]
    verdicts = {finding.what: finding.verdict for finding in report.findings}
    assert verdicts.pop("provenance") == "could not confirm"
    assert set(verdicts.values()) == {"confirmed"}
    assert {"file", "hashes", "coverage", "source", "ids", "identity", "scores"} <= verdicts.keys()
    assert "MY_METHOD_WAS_IMPORTED" not in os.environ


@pytest.mark.parametrize(
    "kind",
    [
        "predictions.npz",
        "scores.parquet",
        "curve.csv",
        "log.txt",
        "record.json",
        "my_method.py",
        "protocol.json",
    ],
)
def test_one_bit_in_any_kind_of_member_fails_its_hash(world, kind):
    submission = world.submission
    name = next(name for name in sorted(submission.members) if name.endswith(kind))
    changed = rewritten(submission, submission.members | {name: flipped(submission.members[name])})
    assert failures(world, changed)["hashes"].startswith(f"{name} was altered after packing")


def test_one_bit_anywhere_in_the_file_is_noticed(world, tmp_path):
    raw = world.file.read_bytes()
    rng = np.random.default_rng(0)
    # The headers between the members, which no hash covers, are at the end: the zip's directory.
    places = {*rng.integers(0, 8 * len(raw), 60), *rng.integers(8 * (len(raw) - 1500), 8 * len(raw), 60)}
    for place in sorted(map(int, places)):
        (tmp_path / "bit.zip").write_bytes(flipped(raw, place))
        try:
            submission = archive.read(tmp_path / "bit.zip")
        except HarnessError:
            continue
        assert failures(world, submission), f"bit {place} went unnoticed"


def test_altered_scores_with_every_hash_recomputed_fail_on_recomputation(world):
    found = failures(world, forged(world.submission, scores=better))
    assert list(found) == ["scores"]
    assert "dice of" in found["scores"]
    assert "the predictions give" in found["scores"]


def test_one_bit_of_a_prediction_with_every_hash_recomputed_fails_on_recomputation(world):
    assert list(failures(world, forged(world.submission, predictions=one_pixel))) == ["scores"]


def test_a_shortened_curve_with_every_hash_recomputed_fails(world):
    found = failures(world, forged(world.submission, curve=lambda data: data.splitlines(keepends=True)[0]))
    assert found == {"curves": found["curves"]}
    assert "not one loss for each of 1 epochs" in found["curves"]


def test_altered_source_with_every_hash_recomputed_fails(world):
    members = dict(world.submission.members)
    members["source/my_helper.py"] = b"FACTOR = 2\n"
    changed = rewritten(world.submission, members, members=archive.digests(members))
    assert "ran a source other than the enclosed one" in failures(world, changed)["source"]


@pytest.mark.parametrize(
    ("change", "what", "why"),
    [
        (lambda r: r["identity"].update(cohort="0" * 64), "identity", "cohort differ"),
        (lambda r: r["identity"]["recipe"].update(epochs=50), "identity", "recipe differ"),
        (lambda r: r["identity"]["attribute"].update(codes="0" * 64), "identity", "attribute differ"),
        (lambda r: r["identity"].update(extra=1), "identity", "extra differ"),
        (lambda r: r["method"].update(source="# another"), "source", "shows a source other"),
        (lambda r: r.update(groups=["Black", "White"]), "records", "groups are not those of the cohort"),
        (lambda r: r.update(seed=7), "records", "its seed is not"),
        (lambda r: r["method"].update(name="erm"), "records", "its method is not the one in its identity"),
        (lambda r: r.update(status="failed"), "schema", "of a failed trial"),
        (lambda r: r.update(smuggled=1), "schema", "smuggled"),
    ],
)
def test_a_record_that_says_something_else_fails_though_its_id_fits(world, change, what, why):
    found = failures(world, with_records(world.submission, change))
    assert list(found) == [what]
    assert why in found[what]


def test_an_id_that_is_not_the_hash_of_the_identity_fails(world):
    submission = world.submission
    trial = min(submission.records)
    fake = "0" * 20
    members = {
        n.replace(trial, fake): d.replace(trial.encode(), fake.encode())
        for n, d in submission.members.items()
    }
    plan = tuple(
        r.model_copy(update={"trial": r.trial.replace(trial, fake)}) for r in submission.manifest.plan
    )
    changed = rewritten(submission, members, plan=plan, members=archive.digests(members))
    assert list(failures(world, changed)) == ["ids"]


def test_hyper_parameters_that_differ_between_seeds_fail(world):
    def tune(record):
        for table in (record["method"], record["identity"]["method"]):
            table["hyper_parameters"] = {"scale": 1.0 + record["seed"]}

    found = failures(world, with_records(world.submission, tune))
    assert "hyper-parameters differ between trials" in found["records"]


def test_a_missing_seed_fails_with_its_name(world):
    submission = world.submission
    kept = tuple(row for row in submission.manifest.plan if row.seed == 0)
    members = {
        n: d for n, d in submission.members.items() if not n.startswith("records/") or kept[0].trial in n
    }
    changed = rewritten(submission, members, plan=kept, members=archive.digests(members))
    assert failures(world, changed)["coverage"] == "no trial for race seed 1; run it and pack again"


def test_other_versions_of_the_libraries_are_said_and_do_not_fail(world):
    older = with_records(world.submission, lambda r: r["identity"]["libraries"].update(torch="1.0"))
    report = verify(older, world.yardstick)
    assert not report.failed
    (versions,) = [finding for finding in report.findings if finding.what == "versions"]
    assert versions.verdict == "could not confirm"
    assert "libraries" in versions.why


def perfect(world):
    """A submission whose predictions are the truth itself, consistent down to the last hash."""
    cohort = world.yardstick.cohort
    truth = np.asarray(cohort.masks[cohort.rows("test")])
    scores = parquet(recompute(truth, world.yardstick))
    labels = npz(samples=np.array(world.yardstick.samples), labels=truth)
    return forged(world.submission, scores=lambda _: scores, predictions=lambda _: labels)


def test_only_a_rerun_tells_invented_predictions_and_curves_from_trained_ones(world):
    honest, invented = world.submission, perfect(world)
    smoother = forged(honest, curve=lambda data: data.replace(b"0,loss,,,0.", b"0,loss,,,0.0", 1))
    assert smoother.members != honest.members
    # On another number of cards last bits differ, and with them a curve.
    shared = with_records(smoother, lambda r: r["cost"].update(cards=2))
    seed = next(row.seed for row in honest.manifest.plan if row.trial == min(honest.records))
    verdicts = {}
    for name, submission in {
        "honest": honest,
        "invented": invented,
        "smoother": smoother,
        "shared": shared,
    }.items():
        report = verify(submission, world.yardstick)
        assert not report.failed
        (finding,) = rerun(submission, report, world.yardstick, seed, world.paths, CPU)
        verdicts[name] = finding.why.partition("trained again, ")[2]
        assert finding.verdict == ("confirmed" if name in ("honest", "shared") else "failed"), finding.why
    assert verdicts.pop("invented").startswith("other predictions; ")
    same = "the same predictions to the bit"
    assert verdicts == {"honest": same, "shared": same, "smoother": "another learning curve"}


def test_a_rerun_of_a_seed_that_the_protocol_lacks_is_refused(world):
    report = verify(world.submission, world.yardstick)
    with pytest.raises(HarnessError, match="--rerun 9: the protocol's seeds are 0, 1"):
        list(rerun(world.submission, report, world.yardstick, 9, world.paths, CPU))


def test_another_protocol_fails_by_the_name_of_what_differs(world):
    protocol = world.yardstick.protocol
    other = protocol.model_copy(update={"recipe": protocol.recipe.model_copy(update={"epochs": 9})})
    report = verify(world.submission, replace(world.yardstick, protocol=other))
    assert [finding.why for finding in report.failed] == [
        "protocol.json: 'recipe' is not that of this machine's protocol"
    ]
