"""The controls of a method: planned from what it declares, trained as told, never in anybody's way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_trial import Silent
from tiny import CPU, parse
from tiny import prepare as prepare_tiny

from harness.running.executors.local import LocalExecutor
from harness.running.prepare import prepare
from harness.running.schedule import execute
from harness.running.trial import Paths
from harness.training.sampling import shuffled


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def planned(methods, paths):
    return prepare(parse(seeds=[0]), methods, paths, "tiny.toml", controls=True)


def twinned(methods, paths):
    return prepare(parse(seeds=[0]), methods, paths, "tiny.toml", twinned=True)


def test_controls_follow_from_what_a_method_declares(tmp_path, cache):
    rows = planned(["erm", "febs", "erm-balanced"], Paths(tmp_path, None, cache)).plan.rows
    named = {(row.control_of, row.method) for row in rows if row.control_of}
    assert named == {
        ("febs", "febs: shuffled groups"),
        ("febs", "febs: gamma 0, a Dice by group"),
        ("erm-balanced", "erm-balanced: shuffled groups"),
        ("erm-balanced", "erm-balanced: ERM with a group-balanced sampler"),
    }


def test_a_methods_own_trials_keep_their_ids(tmp_path, cache):
    paths = Paths(tmp_path, None, cache)
    without = set(prepare_tiny(["febs"], paths, seeds=[0]).plan.trials)
    with_controls = planned(["febs"], paths).plan
    assert without < set(with_controls.trials)
    assert {row.trial for row in with_controls.rows if not row.control_of} == without


def test_erm_with_extra_steps_starts_from_erm_and_serves_every_attribute(tmp_path, cache):
    plan = twinned(["febs", "febs-released"], Paths(tmp_path, None, cache)).plan
    rows = [row for row in plan.rows if row.method not in ("febs", "febs-released")]
    assert {(row.method, row.control_of) for row in rows} == {("erm", ""), ("erm+1", "")}
    trials = {row.trial for row in rows if row.method == "erm+1"}
    assert len(trials) == 1  # of both methods, and of both attributes
    twin = plan.trials[trials.pop()]
    assert twin.plugin.name == plan.trials[twin.starts_from].plugin.name == "erm"
    assert twin.label == "erm (same extra epoch) seed 0"


def test_a_chain_of_methods_has_erm_at_every_step_of_it_as_its_twin(tmp_path, cache):
    for name, origin in (("after_adv", "adv"), ("after_febs", "febs")):
        (tmp_path / f"{name}.py").write_text(
            "from harness import Card, Method\n\nclass Mine(Method):\n"
            f'    card = Card(title="{name}")\n    starts_from = "{origin}"\n'
            "    def loss(self, batch, output):\n        return output.losses.mean()\n"
        )
    files = [str(tmp_path / "after_adv.py"), str(tmp_path / "after_febs.py")]
    plan = twinned(files, Paths(tmp_path, None, cache)).plan
    twins = {row.method: plan.trials[row.trial] for row in plan.rows if row.method.startswith("erm+")}
    assert set(twins) == {"erm+1", "erm+1+1"}
    # The longer one starts from the shorter, which starts from ERM: no method's own weights are in either.
    assert twins["erm+1+1"].starts_from == twins["erm+1"].id
    assert plan.trials[twins["erm+1"].starts_from].label == "erm seed 0"


def test_methods_that_train_as_erm_does_have_no_twin_and_runs_without_a_board_have_none(tmp_path, cache):
    paths = Paths(tmp_path, None, cache)
    assert {row.method for row in twinned(["adv"], paths).plan.rows} == {"adv"}
    assert {row.method for row in prepare_tiny(["febs"], paths, seeds=[0]).plan.rows} == {"erm", "febs"}


def test_shuffling_keeps_the_sizes_and_every_patient_in_one_group():
    patients = np.repeat(np.arange(50), 3)
    groups = np.repeat(np.arange(50) % 5 - 1, 3)
    dealt = shuffled(groups, patients, np.random.default_rng(0))
    assert (np.bincount(dealt + 1) == np.bincount(groups + 1)).all()
    assert (dealt.reshape(50, 3) == dealt.reshape(50, 3)[:, :1]).all()
    assert (dealt != groups).any()


def test_controls_train_and_what_is_different_is_in_their_record(tmp_path, cache):
    prepared = planned(["erm-balanced"], Paths(tmp_path, None, cache))
    with LocalExecutor([{}, {}], preload=["harness.running.trial"]) as executor:
        outcome = execute(prepared, executor, Silent(), 2, CPU)
    assert outcome.count("done") == len(prepared.plan.trials) == 6
    store = prepared.store
    by_row = {(row.method, row.attribute): row.trial for row in prepared.plan.rows}
    own = by_row["erm-balanced", "race"]
    twin = by_row["erm-balanced: ERM with a group-balanced sampler", "race"]
    # The same loss under the same sampler: the same predictions to the last pixel.
    assert (store.predictions(own)[1] == store.predictions(twin)[1]).all()
    dealt = by_row["erm-balanced: shuffled groups", "race"]
    assert (store.predictions(own)[1] != store.predictions(dealt)[1]).any()
    assert store.record(dealt).control == "shuffled groups"
    assert store.record(own).control == ""


@pytest.mark.parametrize(("rule", "other"), [("last", "best-validation"), ("best-validation", "last")])
def test_the_other_checkpoint_is_a_control_where_there_are_validation_patients(tmp_path, cache, rule, other):
    wanted = parse(seeds=[0], split={"test": 0.4, "validation": 0.25}, selection=rule)
    prepared = prepare(wanted, ["erm", "febs"], Paths(tmp_path, None, cache), "tiny.toml", controls=True)
    by_row = {(row.method, row.attribute): row.trial for row in prepared.plan.rows}
    trials = prepared.plan.trials
    for method in ("erm", "febs"):
        own, twin = trials[by_row[method, "race"]], trials[by_row[f"{method}: {other} checkpoint", "race"]]
        assert own.id != twin.id
        assert (own.protocol.recipe.selection, twin.protocol.recipe.selection) == (rule, other)
    # FEBS under the other rule starts from ERM under the other rule, the same that is ERM's own control.
    febs = trials[by_row[f"febs: {other} checkpoint", "race"]]
    assert febs.starts_from == by_row[f"erm: {other} checkpoint", "race"]


def test_the_last_and_the_best_checkpoint_are_of_one_training(tmp_path, cache):
    wanted = parse(seeds=[0], split={"test": 0.4, "validation": 0.25}, epochs=4, learning_rate=0.02)
    prepared = prepare(wanted, ["erm"], Paths(tmp_path, None, cache), "tiny.toml", controls=True)
    with LocalExecutor([{}, {}], preload=["harness.running.trial"]) as executor:
        outcome = execute(prepared, executor, Silent(), 2, CPU)
    assert outcome.count("done") == 2
    store, by_row = prepared.store, {row.method: row.trial for row in prepared.plan.rows}
    last, best = by_row["erm"], by_row["erm: best-validation checkpoint"]
    curves = [(store.path(trial) / "curve.csv").read_bytes() for trial in (last, best)]
    assert curves[0] == curves[1]
    assert store.record(best).control == "best-validation checkpoint"
    curve = pd.read_csv(store.path(best) / "curve.csv")
    validation = curve[curve["quantity"] == "validation_dice"].set_index("epoch")["value"]
    same = (store.predictions(last)[1] == store.predictions(best)[1]).all()
    assert same == (validation.idxmax() == validation.index.max())
