"""A tuned method: packed with what was tried, verified against it, and shown as tuned."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from forge import rewritten
from tiny import CPU

from harness import identity
from harness.cli import cli
from harness.errors import HarnessError
from harness.running import tune
from harness.running.trial import Paths
from harness.running.tune import Tuning
from harness.store import Store, Try, Tuned
from harness.submission import archive
from harness.submission.rerun import rerun
from harness.submission.submit import submit
from harness.submission.verify import verify


@pytest.fixture(scope="module")
def tuned(world):
    tries = tuple(Try(hyper_parameters={"scale": scale}, score=scale / 4) for scale in (1.0, 2.0))
    digest = identity.method_digest(world.plugin.file)
    return Tuned(budget=2, seeds=(0,), patients=9, source_digest=digest, tries=tries, chosen=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tuned")


@pytest.fixture(scope="module")
def submission(world, submission_of, tuned, folder):
    return submission_of(world.plugin.file, folder, {"my-method": tuned})


def claiming(submission, **changes):
    stated = {name: one.model_copy(update=changes) for name, one in submission.manifest.tuned.items()}
    return rewritten(submission, submission.members, tuned=stated)


def test_a_tuned_method_is_verified_and_the_board_says_how_it_was_tuned(submission, world, tuned, tmp_path):
    report = verify(submission, world.yardstick)
    assert not report.failed
    submit(submission.manifest, report, world.yardstick, Paths(tmp_path, None, world.paths.cache))
    assert Store(tmp_path).protocol("tiny").tuned == {"guest.my-method": tuned}


def test_it_is_packed_on_the_command_line_with_the_file_that_it_was_run_with(
    submission, world, tuned, folder, tmp_path
):
    told = Tuning(
        protocol="tiny",
        fixed=tune.fixed(world.yardstick.protocol),
        budget=2,
        seeds=(0,),
        methods={"my-method": tuned},
    )
    (tmp_path / "tuned.json").write_text(told.model_dump_json())
    options = {
        "--protocol": world.folder / "tiny.toml",
        "--tuned": tmp_path / "tuned.json",
        "--runs": folder / "runs",
        "--cache": world.paths.cache,
        "--out": tmp_path / "x.zip",
    }
    words = [str(word) for pair in options.items() for word in pair]
    done = CliRunner().invoke(cli, ["pack", str(world.plugin.file), *words], catch_exceptions=False)
    assert done.exit_code == 0
    assert archive.read(tmp_path / "x.zip").raw == submission.raw


def test_a_rerun_takes_the_tuned_values(submission, world):
    report = verify(submission, world.yardstick)
    (finding,) = rerun(submission, report, world.yardstick, 0, world.paths, CPU)
    assert finding.verdict == "confirmed"


def test_values_that_are_not_what_was_chosen_fail(submission, world):
    found = verify(claiming(submission, chosen=0), world.yardstick).failed
    assert [one.why for one in found] == ["hyper-parameters are not those that tuning gave this method"]


def test_tries_of_another_source_fail(submission, world):
    found = verify(claiming(submission, source_digest="0" * 64), world.yardstick).failed
    assert [one.why for one in found] == ["what was tuned is a source other than the enclosed one"]


@pytest.mark.parametrize("changes", [{"chosen": 2}, {"chosen": -1}, {"budget": 1}])
def test_a_choice_that_is_none_of_the_tries_is_refused(submission, tmp_path, changes):
    (tmp_path / "x.zip").write_bytes(claiming(submission, **changes).raw)
    with pytest.raises(HarnessError, match=r"manifest.json: tuned(\.my-method)?: .*none of the tries"):
        archive.read(tmp_path / "x.zip")
