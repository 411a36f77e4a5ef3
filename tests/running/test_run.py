"""What is run: methods with all that they start from, broken ones told and left out, one board for all."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from test_trial import Silent
from tiny import CPU, PROTOCOL, parse, prepare, trial_of

from harness.errors import HarnessError
from harness.running.board import write_protocol
from harness.running.executors.local import WorkerDied
from harness.running.prepare import Prepared
from harness.running.prepare import prepare as prepare_run
from harness.running.schedule import embed_cohort, execute
from harness.running.trial import Paths

PLUGIN = """
from harness import Card, Method

class Mine(Method):
    card = Card(title="Mine")
    reads_attribute = False
    starts_from = {origin!r}

    def loss(self, batch, output):
        return output.losses.mean()
"""


class Inline(Executor):
    """Runs each task at once, in this process."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - handed over as executors do
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def paths(tmp_path, cache):
    return Paths(tmp_path / "runs", None, cache)


def plugin(folder: Path, name: str, origin: str | None = None) -> str:
    file = folder / f"{name}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(PLUGIN.format(origin=origin))
    return str(file)


def test_a_chain_of_methods_is_followed_to_its_start(paths, tmp_path):
    prepared = prepare([plugin(tmp_path, "chain", "febs")], paths, seeds=(0,))
    assert {row.method for row in prepared.plan.rows} == {"erm", "febs", "chain"}
    assert prepared.broken == ()


@pytest.mark.parametrize(
    ("origins", "message"),
    [
        ({"a": "a"}, "a.py: starts_from leads back: a from a; name another method"),
        ({"a": "b", "b": "a"}, "a.py: starts_from leads back: a from b from a"),
        ({"a": "ermm"}, "a.py: a starts from 'ermm', which is no method. Did you mean 'erm'?"),
        ({"a": "b", "b": "ermm"}, "b.py: b starts from 'ermm', which is no method"),
    ],
)
def test_a_method_that_can_never_start_is_told_and_the_others_run(paths, tmp_path, origins, message):
    files = [plugin(tmp_path, name, origin) for name, origin in origins.items()]
    prepared = prepare([*files, "adv"], paths, seeds=(0,))
    assert {row.method for row in prepared.plan.rows} == {"adv"}
    assert {one.plugin.name for one in prepared.broken} == set(origins)
    assert any(message in one.error for one in prepared.broken)


def test_two_files_of_one_name_are_refused_and_one_file_twice_is_one(paths, tmp_path):
    one, other = plugin(tmp_path / "p", "mine"), plugin(tmp_path / "q", "mine")
    with pytest.raises(HarnessError, match=r"p/mine\.py and .*q/mine\.py are both the method 'mine'; rename"):
        prepare([one, other], paths)
    assert {row.method for row in prepare([one, one], paths).plan.rows} == {"mine"}


def test_hyper_parameters_for_no_method_and_an_unknown_backbone_are_refused(paths):
    misspelt = parse(methods={"gropdro": {"step_size": 0.1}})
    with pytest.raises(HarnessError, match=r"tiny.toml: \[methods.gropdro\] .* Did you mean 'groupdro'?"):
        prepare_run(misspelt, ["erm"], paths, "tiny.toml")
    with pytest.raises(HarnessError, match="no backbone 'unnet'. Did you mean 'unet'?"):
        prepare(["erm"], paths, backbone={"name": "unnet", "adapt": "full"})


def test_two_runs_that_start_together_both_have_their_cells(paths):
    both = [prepare([name], paths, seeds=(0,)) for name in ("adv", "groupdro")]
    for _ in range(5):
        threads = [threading.Thread(target=write_protocol, args=(one, "harness run")) for one in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {row.method for row in both[0].store.protocol("tiny").plan} == {"adv", "groupdro"}
        (paths.runs / "protocols" / "tiny" / "protocol.json").unlink()


def cells(prepared: Prepared) -> dict[tuple[str, int], str]:
    plan = prepared.store.protocol("tiny").plan
    return {(row.method, row.seed): row.trial for row in plan if row.attribute == "race"}


def test_after_an_edit_the_seeds_not_run_again_are_to_run_and_not_the_old_ones(paths, tmp_path):
    mine = plugin(tmp_path, "mine", "erm")
    write_protocol(prepare([mine, "adv"], paths), "harness run")
    old = cells(prepare([mine], paths))
    write_protocol(prepare([mine], paths, seeds=(0,)), "harness run")
    assert cells(prepare([mine], paths)) == old
    Path(mine).write_text(Path(mine).read_text().replace(".mean()", ".sum()"))
    write_protocol(prepare([mine], paths, seeds=(0,)), "harness run")
    whole = prepare([mine], paths)
    new = {(r.method, r.seed): r.trial for r in whole.plan.rows if r.attribute == "race"}
    assert cells(whole) == new | {key: old[key] for key in old if key[0] == "adv"}
    assert new["mine", 1] != old["mine", 1]
    assert new["erm", 1] == old["erm", 1]


def test_after_an_edit_controls_of_the_old_source_go(paths, tmp_path):
    mine = plugin(tmp_path, "mine", "adv")
    both = prepare_run(parse(), [mine], paths, "tiny.toml", controls=True)
    write_protocol(both, "harness run --controls")
    write_protocol(prepare([mine], paths), "harness run")
    assert ("mine: ERM with the same extra steps", 0) in cells(both)
    Path(mine).write_text(Path(mine).read_text().replace(".mean()", ".sum()"))
    write_protocol(prepare([mine], paths), "harness run")
    assert {method for method, _ in cells(both)} == {"adv", "mine"}


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (PermissionError(13, "Permission denied", "runs/work"), "stopped", "runs/work: Permission denied"),
        (RuntimeError("out of luck"), "stopped", "erm seed 0: RuntimeError: out of luck"),
        (WorkerDied(-9), "failed", ""),
        (WorkerDied(-9, out_of_memory=True), "stopped", "memory was full, which is no fault of the method"),
    ],
)
def test_whatever_ends_one_trial_the_others_go_on(paths, error, status, message):
    prepared = prepare(["erm", "adv"], paths, seeds=(0,))
    bad = trial_of(prepared, "erm").id

    def run_one(trial, *_):
        if trial.id == bad:
            raise error
        return "done"

    outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=run_one)
    assert (outcome.count(status), outcome.count("done")) == (1, 2)
    assert [message in told for told in outcome.errors] == [True] * (status == "stopped")


def test_a_worker_that_dies_while_embedding_is_one_sentence(paths):
    class Dying(Inline):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.set_exception(WorkerDied(-9))
            return future

    frozen = {"backbone": {"name": "sam", "variant": "tiny", "adapt": "frozen"}, "cohort": PROTOCOL["cohort"]}
    prepared = prepare(["erm"], paths, **frozen)
    with pytest.raises(HarnessError, match="embeddings of the frozen backbone: .* SIGKILL.*; run again"):
        embed_cohort(prepared, Dying(), 1, CPU)


def test_the_oracle_runs_where_the_protocol_tells_it_the_cause_and_nowhere_else(tmp_path):
    paths = Paths(tmp_path / "runs", None, tmp_path / "cache")
    assert "oracle" not in {row.method for row in prepare([], paths, seeds=(0,)).plan.rows}
    with pytest.raises(HarnessError, match=r"told the cause of the gap in \[methods.oracle\]"):
        prepare(["oracle"], paths, seeds=(0,))
    telling = parse(seeds=(0,), methods={"oracle": {"weights": "Black 2"}})
    told = prepare_run(telling, [], paths, "tiny.toml")
    assert "oracle" in {row.method for row in told.plan.rows}
