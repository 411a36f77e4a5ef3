"""A method that starts from another's weights: from those that this machine would train, or it is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from forge import with_records

from harness.plugin.new import write_method
from harness.submission.verify import verify


@pytest.fixture(scope="module")
def later(submission_of, tmp_path_factory):
    """The submission of a method that goes on from ERM."""
    folder = tmp_path_factory.mktemp("later")
    file, _ = write_method("later", folder / "methods")
    file.write_text(file.read_text().replace("    card =", '    starts_from = "erm"\n    card ='))
    return submission_of(file, folder)


def origin(submission, measured) -> tuple[str, str]:
    (found,) = [one for one in verify(submission, measured).findings if one.what == "origin"]
    return found.verdict, found.why


def elsewhere(record):
    record["started_from"] = record["identity"]["starts_from"] = "0" * 20


def test_starting_from_this_machines_own_erm_is_confirmed(later, world):
    assert origin(later, world.yardstick)[0] == "confirmed"
    assert not verify(later, world.yardstick).failed


def test_starting_from_an_invented_trial_fails(later, world):
    verdict, why = origin(with_records(later, elsewhere), world.yardstick)
    assert verdict == "failed"
    assert "did not start from 'erm' as this machine trains it" in why


def test_an_origin_of_another_version_cannot_be_told_from_an_invented_one(later, world):
    def older(record):
        elsewhere(record)
        record["identity"]["libraries"]["torch"] = "1.0"

    verdict, why = origin(with_records(later, older), world.yardstick)
    assert (verdict, "another version" in why) == ("could not confirm", True)


def test_an_origin_that_is_no_method_here_is_not_confirmed(later, world):
    unknown = with_records(later, lambda record: record["method"].update(starts_from="theirs"))
    verdict, why = origin(unknown, world.yardstick)
    assert (verdict, "no method here" in why) == ("could not confirm", True)


def test_without_the_cohort_no_origin_is_confirmed(later, world):
    verdict, _ = origin(later, replace(world.yardstick, cohort=None))
    assert verdict == "could not confirm"


def test_an_origin_that_no_method_names_fails(later, world):
    unnamed = with_records(later, lambda record: record["method"].update(starts_from=None))
    assert "names a trial that it started from" in verify(unnamed, world.yardstick).failed[0].why
