"""Choosing hyper-parameters: on training patients alone, as many tries for every method, on the board."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_trial import Silent
from tiny import CPU, parse

from harness import cohorts
from harness.cohorts.split import LEFT_OUT
from harness.errors import HarnessError
from harness.plugin import declared, discovery
from harness.plugin.method import Range
from harness.running import tune
from harness.running.board import write_protocol
from harness.running.executors.local import LocalExecutor
from harness.running.plan import Candidate, candidate
from harness.running.prepare import prepare
from harness.running.schedule import execute
from harness.running.trial import Paths
from harness.store import Store

# Long enough that no score is 0, and from values that another try differs from in its scores.
ONE = {
    "attributes": {"race": {}}, "seeds": [0], "epochs": 2, "methods": {"groupdro": {"adjustment": 3.0}},
}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def tuned(folder, cache, methods=("erm", "groupdro"), budget=2):
    """Search and choose under the tiny protocol, for race alone."""
    search = tune.prepare_tuning(parse(**ONE), methods, Paths(folder, None, cache), "tiny.toml", budget)
    with LocalExecutor([{}, {}], preload=["harness.running.trial"]) as executor:
        outcome = execute(search.prepared, executor, Silent(), 2, CPU)
    assert outcome.count("done") == len(search.prepared.plan.trials)
    return search, tune.choose(search)[0]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory, cache):
    return tuned(tmp_path_factory.mktemp("runs"), cache)


def said(search, kinds=None) -> Candidate:
    plugin = discovery.find("groupdro")
    about = declared.About(None, {"rate": 0.1, "width": 3}, kinds or {}, search=search)
    return Candidate(plugin, about, dict(about.defaults), "", "")


def test_tries_begin_with_the_values_as_they_are_and_stay_in_their_ranges():
    ranges = {"rate": Range(1e-3, 10.0, log=True), "width": Range(2, 9)}
    tries = tune.points(said(ranges, {"rate": "float", "width": "int"}), 200)
    assert tries[0] == {"rate": 0.1, "width": 3}
    assert len(tries) == 200
    rates, widths = ([one[name] for one in tries[1:]] for name in ("rate", "width"))
    assert {type(width) for width in widths} == {int}
    assert set(widths) == set(range(2, 10))
    # Evenly by ratio: a quarter of 1e-3 to 10 is one power of ten.
    assert np.histogram(np.log10(rates), bins=[-3, -2, -1, 0, 1])[0] == pytest.approx(199 / 4, abs=2)


def test_a_longer_search_goes_on_where_a_shorter_one_ended():
    ranges = {"rate": Range(0.0, 1.0)}
    assert tune.points(said(ranges), 9)[:4] == tune.points(said(ranges), 4)


def test_a_method_without_ranges_has_nothing_to_choose():
    assert tune.points(said({}), 50) == [{"rate": 0.1, "width": 3}]


def test_tuning_reads_training_patients_only(cache):
    wanted = parse(**ONE)
    split = wanted.split.model_copy(update={"tuning": tune.SHARE})
    whole, inner = (
        cohorts.load(p, None, cache).subjects for p in (wanted, wanted.model_copy(update={"split": split}))
    )
    assert set(inner["split"][whole["split"] == "test"]) == {LEFT_OUT}
    assert set(inner["split"][whole["split"] == "train"]) == {"train", "test"}
    assert (inner["split"] == "test").sum() == pytest.approx(0.25 * (whole["split"] == "train").sum(), abs=2)
    assert not set(inner["patient"][inner["split"] == "test"]) & set(
        inner["patient"][inner["split"] == "train"]
    )


def test_every_try_is_scored_and_the_best_is_chosen(chosen):
    search, found = chosen
    store, cohort = search.prepared.store, search.prepared.cohort
    one = found["groupdro"]
    assert (one.budget, len(one.tries), len(found["erm"].tries)) == (2, 2, 1)
    assert one.chosen == max((0, 1), key=lambda i: one.tries[i].score)
    assert one.tries[0].score != one.tries[1].score
    # ES-Dice of the cup by race over the tuning patients, worked out with pandas.
    trial = search.attempts[1].trials["race", 0]
    scores = store.scores(trial.id).query("structure == 'cup'").set_index("sample")["dice"]
    rows = cohort.subjects[cohort.subjects["split"] == "test"].set_index("sample")
    by_race = scores.groupby(rows["race"]).mean()
    expected = scores.mean() / (1 + (by_race - scores.mean()).abs().sum())
    assert one.tries[0].score == pytest.approx(expected)
    assert one.patients == rows["patient"].nunique()


def test_the_test_patients_cannot_change_what_is_chosen(chosen, cache, tmp_path):
    search, found = chosen
    other = tmp_path / "cache"
    shutil.copytree(cache, other)
    left_out = search.prepared.cohort.subjects["split"].to_numpy() == LEFT_OUT
    arrays = [p for p in other.rglob("*.npy") if p.stem in ("images", "masks")]
    files = [p for p in arrays if len(np.load(p, mmap_mode="r")) == len(left_out)]
    assert {p.stem for p in files} == {"images", "masks"}
    for file in files:
        array, built = np.load(file), file.stat()
        array[left_out] = 0
        np.save(file, array)
        os.utime(file, ns=(built.st_atime_ns, built.st_mtime_ns))  # else it counts as damaged and is rebuilt
    again, chosen_again = tuned(tmp_path / "runs", other)
    assert not again.prepared.cohort.masks[left_out].any()
    assert search.prepared.cohort.masks[left_out].any()
    assert chosen_again == found


def test_what_was_chosen_is_run_and_written_beside_the_board(chosen, cache, tmp_path):
    search, found = chosen
    path, paths = tmp_path / "tuned.json", Paths(tmp_path / "runs", None, cache)
    best = found["groupdro"].model_copy(update={"chosen": 1})
    tune.write(path, parse(**ONE), search, found | {"groupdro": best})
    told = tune.read_for(path, parse(**ONE))
    with_it = prepare(parse(**ONE), ["groupdro"], paths, "tiny.toml", tuned=told)
    (trial,) = with_it.plan.trials.values()
    assert trial.hyper_parameters == best.tries[1].hyper_parameters != best.tries[0].hyper_parameters
    write_protocol(with_it, "harness run groupdro --tuned tuned.json")
    record = Store(paths.runs).protocol("tiny")
    assert record.tuned == {"groupdro": best}
    assert [row.trial for row in record.plan] == [trial.id]


def test_cells_of_a_method_that_was_tuned_otherwise_do_not_stay_on_its_row(chosen, cache, tmp_path):
    paths = Paths(tmp_path, None, cache)
    both = {"attributes": {"race": {}}}
    plain = prepare(parse(**both, seeds=[0, 1]), ["erm", "groupdro"], paths, "tiny.toml")
    write_protocol(plain, "harness run erm groupdro")
    told = {"groupdro": chosen[1]["groupdro"].model_copy(update={"chosen": 1})}
    again = prepare(parse(**both, seeds=[0]), ["groupdro"], paths, "tiny.toml", tuned=told)
    write_protocol(again, "harness run groupdro --tuned tuned.json --seeds 0")
    rows = pd.DataFrame([row.model_dump() for row in Store(paths.runs).protocol("tiny").plan])
    assert rows.groupby("method")["seed"].apply(list).to_dict() == {"erm": [0, 1], "groupdro": [0]}


def test_no_method_may_be_tuned_more_than_another(chosen, tmp_path):
    search, found = chosen
    path, wanted = tmp_path / "tuned.json", parse(**ONE)
    tune.write(path, wanted, search, {"erm": found["erm"]})
    tune.write(path, wanted, search, {"groupdro": found["groupdro"]})
    assert set(tune.read(path).methods) == {"erm", "groupdro"}
    with pytest.raises(HarnessError, match="--budget 2 and seeds 0; no method may be tuned more"):
        tune.write(path, wanted, replace(search, budget=3), found)


def test_a_file_of_another_protocol_or_of_an_edited_method_is_refused(chosen, tmp_path):
    search, found = chosen
    path = tmp_path / "tuned.json"
    tune.write(path, parse(**ONE), search, found)
    with pytest.raises(HarnessError, match="run harness tune under this protocol"):
        tune.read_for(path, parse(**ONE, learning_rate=0.5))
    edited = found["groupdro"].model_copy(update={"source_digest": "0" * 64})
    about = search.candidates["groupdro"].about
    with pytest.raises(HarnessError, match=r"groupdro\.py is not what was tuned"):
        candidate(discovery.find("groupdro"), about, parse(**ONE), "tiny.toml", edited)
    path.write_text("{}")
    with pytest.raises(HarnessError, match="not a file of harness tune"):
        tune.read(path)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ('{"lenght": Range(0.0, 1.0)}', "search names 'lenght', .* Did you mean 'length'"),
        ('{"word": Range(0.0, 1.0)}', "has a range for 'word', which is not a number"),
        ('{"length": Range(1.0, 0.0)}', "low is below high"),
    ],
)
def test_a_range_that_does_not_fit_is_reported_by_file(search, said, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from harness import Card, Method, Range\n"
        "class Mine(Method):\n"
        '    card = Card(title="Mine")\n'
        f"    search = {search}\n"
        "    def __init__(self, task, length: float = 0.5, word: str = 'a'):\n"
        "        super().__init__(task)\n"
        "    def loss(self, batch, output):\n"
        "        return output.losses.mean()\n"
    )
    _, (broken,) = discovery.load_all([discovery.find(str(file))])
    assert str(file) in broken.error
    assert pd.Series([broken.error]).str.contains(said)[0]
