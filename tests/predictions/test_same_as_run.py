"""The same predictions through `harness run` and through `harness score`: the same to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny import PROTOCOL, prepare, shared_run

from harness import cohorts, equity, protocol
from harness.cli import cli
from harness.errors import HarnessError
from harness.predictions import make
from harness.predictions.make import Given
from harness.predictions.people import Ask
from harness.running.board import write_protocol
from harness.running.paths import Paths
from harness.store import Store
from leaderboard.read import boards

METHOD = "groupdro"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """The board of trials that were trained, its store and its cohort."""
    ran = shared_run(tmp_path_factory)
    # A copy: other tests share the records, which are on no board.
    paths = Paths(tmp_path_factory.mktemp("board") / "runs", None, ran.cache)
    shutil.copytree(ran.runs, paths.runs)
    write_protocol(prepare(["erm", "groupdro", "adv", "febs"], paths, seeds=(0,)), "harness run")
    store = Store(paths.runs)
    (board,) = boards.of_store(store)
    tiny = protocol.parse(PROTOCOL | {"seeds": [0]}, "tiny.toml")
    return board, store, tiny, cohorts.load(tiny, None, paths.cache)


@pytest.fixture(scope="module")
def exported(board, tmp_path_factory) -> Path:
    """The label maps of a trial as PNG, a file a test sample, with the protocol's labels."""
    found, store, tiny, _ = board
    samples, classes = store.predictions(found.entries[METHOD].records["race", 0].id)
    folder = tmp_path_factory.mktemp("exported")
    values = np.array([0, *tiny.label_values], np.uint8)
    for sample, one in zip(samples, classes, strict=True):
        Image.fromarray(values[one]).save(folder / f"{sample}.png")
    return folder


def test_scores_are_those_of_the_record_to_the_bit(board, exported):
    found, store, tiny, cohort = board
    ours = make.of_protocol(Given((str(exported),), (METHOD,)), tiny, cohort)
    theirs = store.scores(found.entries[METHOD].records["race", 0].id)
    mine = ours.scores[list(theirs.columns)].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, theirs, check_exact=True, check_dtype=False)


@pytest.mark.parametrize("attribute", ["race", "gender"])
def test_statistics_are_those_of_the_boards_numbers_to_the_bit(board, exported, attribute):
    found, _, tiny, cohort = board
    ours = make.of_protocol(Given((str(exported),), (METHOD,)), tiny, cohort)
    for structure in found.structures:
        # What the board hands to the statistics, of this method's training under race alone.
        values = {METHOD: found.matrix(METHOD, "race", structure, "dice")}
        scores = found.equity_scores(values, attribute, True, found.rows(structure))
        views = len(found.attributes) * len(found.structures)
        theirs = equity.tables(scores, METHOD, least_seeds=1, views=views)
        mine = ours.tables[attribute, structure, "dice"]
        for name in ("summary", "noise", "ranking"):
            pd.testing.assert_frame_equal(getattr(mine, name), getattr(theirs, name), check_exact=True)


def test_truths_and_a_table_give_the_same_as_the_protocol_that_has_them(board, exported, tmp_path):
    _, _, tiny, cohort = board
    rows = cohort.rows("test")
    table = cohort.subjects.iloc[rows]
    values = np.array([0, *tiny.label_values], np.uint8)
    for sample, mask in zip(table["sample"], cohort.masks[rows], strict=True):
        Image.fromarray(values[mask]).save(tmp_path / f"{sample}.png")
    frame = table.rename(columns={"sample": "id"}).sample(frac=1, random_state=0)
    given = Given(
        (str(exported),), (METHOD,), str(tmp_path), frame, structures="cup=2;rim=1;disc=1,2",
        ask=Ask(patient="patient", attributes=("race", "gender")),
    )  # fmt: skip
    ours = make.evaluation(given)
    theirs = make.of_protocol(Given((str(exported),), (METHOD,)), tiny, cohort)
    keys = ["sample", "structure"]
    one, other = (e.scores.sort_values(keys).reset_index(drop=True) for e in (ours, theirs))
    columns = [*keys, "dice", "iou", "hd95", "hd95_max", "asd", "nsd", "missed"]
    pd.testing.assert_frame_equal(one[columns], other[columns], check_exact=True)
    for attribute in ("race", "gender"):
        mine, its = (e.tables[attribute, "cup", "dice"].summary for e in (ours, theirs))
        pd.testing.assert_frame_equal(mine, its, check_exact=True)


def test_a_missing_test_sample_is_refused(board, exported, tmp_path):
    _, _, tiny, cohort = board
    for file in sorted(exported.iterdir())[1:]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(HarnessError, match="1 of 32 test samples of 'tiny' have no prediction"):
        make.of_protocol(Given((str(tmp_path),), ("a",)), tiny, cohort)


def test_the_command_takes_a_shipped_protocols_predictions(board, exported, tmp_path):
    import tomli_w

    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(PROTOCOL))
    command = ["score", str(exported), "--protocol", str(tmp_path / "tiny.toml"), "--cache", str(tmp_path)]
    done = CliRunner().invoke(cli, [*command, "--csv"], prog_name="harness", catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0].startswith("attribute,structure,model,quantity,group")
    assert done.output.splitlines()[1].split(",")[5:7] == ["32", "32"]  # patients and cases, as whole numbers
