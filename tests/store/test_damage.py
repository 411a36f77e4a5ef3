"""A damaged file is named with what mends it, and costs only itself."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from make_records import World, make_store
from ran import FROZEN, SMALL
from safetensors.torch import save
from test_run import Inline
from tiny import CPU, Silent, parse, prepare, trial_of

import leaderboard
from harness import cohorts
from harness.backbones import weights
from harness.cli import cli
from harness.errors import HarnessError
from harness.plugin.declared import About
from harness.running import provenance, queue, trial, tune
from harness.running.board import write_protocol
from harness.running.paths import Paths
from harness.running.plan import Plan
from harness.running.prepare import Prepared
from harness.running.schedule import embed_cohort, execute
from harness.sandbox import runs, staging
from harness.sandbox.limits import Limits
from harness.store import Damaged, Store, Try, Tuned, contents, files, names
from harness.training import embed, fit
from harness.training.checkpoint import before
from leaderboard.draw import cases
from leaderboard.read import boards

DEEP = b"[" * 100_000
OTHER = {
    ".json": [b"[]", b"{}", b"null", b'"record"', b"3", b'{"id": ["x"], "status": "done"}', DEEP],
    ".csv": [b"a,b\n1,2\n", b"epoch,quantity,attribute,group,value\nx,loss,,,y\n"],
}
"""Whole files of another shape; those of the binary formats are made below."""


def bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


OTHER[".parquet"] = [bytes_of(pd.DataFrame({"sample": [1]}).to_parquet)]
OTHER[".npz"] = [bytes_of(lambda file: np.savez(file, labels=np.zeros(3))), bytes_of(np.savez)]
OTHER[".npy"] = [bytes_of(lambda file: np.save(file, np.zeros((2, 2))))]
OTHER[".safetensors"] = [save({}), save({"other": torch.zeros(3)})]
OTHER[".pt"] = [bytes_of(lambda file, one=one: torch.save(one, file)) for one in ([], {}, {"state": {}}, 3)]


def damages(path: Path) -> list[bytes]:
    """What may become of a file: nothing, its half, noise, noise in its middle, something else."""
    data = path.read_bytes()
    noise = np.random.default_rng(len(data)).bytes(len(data))
    third = len(data) // 3
    amid = data[:third] + noise[third : len(data) - third] + data[len(data) - third :]
    return [b"", data[: len(data) // 2], noise, amid, *OTHER[path.suffix]]


def each(path: Path):
    """Damage a file in each way, one after the other; it is whole again in the end."""
    data, stat = path.read_bytes(), path.stat()
    for one in damages(path):
        path.write_bytes(one)
        yield one
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


SMALL_WORLD = World(
    methods=("erm", "adv"), attributes=("race",), structures=("cup",), seeds=(0,), samples=60, images=True
)


@pytest.fixture(scope="module")
def board(tmp_path_factory) -> Store:
    store = make_store(tmp_path_factory.mktemp("board") / "runs", SMALL_WORLD)
    for record in store.records():
        hashed = record.model_copy(update={"files": provenance.digests(store.path(record.id))})
        files.write(store.path(record.id) / names.RECORD, files.as_json(hashed))
    return store


@pytest.fixture
def store(board, tmp_path) -> Store:
    """A board of two methods with one trial each, and images."""
    return Store(shutil.copytree(board.root, tmp_path / "runs"))


def harness(store: Store, *args: str):
    return CliRunner().invoke(cli, [*args, "--runs", str(store.root)])


def test_a_damaged_record_stops_no_list_and_no_other_from_being_shown(store, caplog):
    damaged, other = store.ids()
    path = store.path(damaged) / names.RECORD
    for _ in each(path):
        caplog.clear()
        listed = harness(store, "list", "trials")
        assert (listed.exit_code, listed.output.count("\n")) == (0, 1)
        assert other[:8] in listed.output
        (said,) = caplog.messages
        assert said.startswith(f"{path}: not a record of schema 1 (")
        assert said.endswith("); harness run trains this trial again, or delete its folder.")
        assert "\n" not in said
        assert harness(store, "show", other).exit_code == 0
        assert isinstance(harness(store, "show", damaged).exception, Damaged)
        assert harness(store, "board", "list").exit_code == 0
        assert store.status(damaged) == "damaged"


def test_every_value_of_a_record_may_be_another(store):
    """Of each key, what JSON can hold: a record is read or called damaged, and nothing else is raised."""
    one = store.ids()[0]
    path = store.path(one) / names.RECORD
    table = json.loads(path.read_bytes())
    for key in table:
        for value in (None, [], {}, "x", -1, 1e400, True, [[]], {"a": {}}):
            path.write_text(json.dumps(table | {key: value}))
            assert store.status(one) in ("done", "failed", "damaged")
            assert boards.of_store(store)


@pytest.mark.parametrize("name", [names.SCORES, names.CURVE, names.PREDICTIONS])
def test_another_damaged_file_of_a_record_is_named_with_what_mends_it(store, name):
    one = store.ids()[0]
    read = {names.SCORES: store.scores, names.CURVE: store.curve, names.PREDICTIONS: store.predictions}[name]
    for _ in each(store.path(one) / name):
        with pytest.raises(Damaged) as error:
            read(one)
        assert str(error.value).startswith(f"{store.path(one) / name}: cannot be read (")
        assert str(error.value).endswith(f"; delete {store.path(one)} and run the trial again.")
        shown = harness(store, "show", one)
        assert (shown.exit_code, one in shown.output) == (0, True)
        assert harness(store, "list", "trials").exit_code == 0
    read(one)


@pytest.mark.parametrize("name", [names.RECORD, names.SCORES, names.CURVE, names.PREDICTIONS])
def test_a_site_is_built_beside_a_damaged_file_of_a_record(store, name, tmp_path, caplog):
    one = store.ids()[0]
    path = store.path(one) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    leaderboard.build(store.root, tmp_path / "site")
    (said,) = caplog.messages
    assert said.startswith(f"{path}: ")
    (found,) = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["protocols"]
    status = {method["method"]: method["status"] for method in found["sections"][0]["methods"]}
    lost = name in (names.RECORD, names.SCORES)
    assert sorted(status.values()) == (["done", "failed"] if lost else ["done", "done"])
    assert str(tmp_path) not in (tmp_path / "site" / "leaderboard.json").read_text()


@pytest.mark.parametrize("name", [names.RECORD, names.SCORES, names.CURVE, names.PREDICTIONS])
def test_whatever_a_file_of_a_record_holds_the_board_is_read(store, name, tmp_path):
    one = store.ids()[0]
    for i, _ in enumerate(each(store.path(one) / name)):
        found = boards.of_store(Store(store.root))
        gallery = cases.Gallery(found[0], store, tmp_path / str(i), "cases")
        shown = [gallery.of_method(method, "race") for method in ("erm", "adv")]
        assert sum(map(bool, shown)) == (2 if name == names.CURVE else 1)


@pytest.mark.parametrize("name", [names.PROTOCOL, names.SUBJECTS])
def test_a_damaged_board_costs_only_itself(store, name, tmp_path, caplog):
    make_store(store.root, replace(SMALL_WORLD, protocol="other"))
    path = store.board_file("quick", name)
    for _ in each(path):
        caplog.clear()
        assert [one.name for one in boards.of_store(Store(store.root))] == ["other"]
        (said,) = caplog.messages
        assert said.startswith(f"{path}: ")
        assert said.endswith("; harness run of the board's methods writes it anew and trains nothing twice.")
        assert harness(store, "list", "trials").exit_code == 0
        assert harness(store, "board", "list").exit_code == 0
    path.write_bytes(b"")
    assert harness(store, "report", "--out", str(tmp_path / "site")).exit_code == 0
    shutil.rmtree(store.board_folder("other"))
    with pytest.raises(HarnessError, match="no board here can be read"):
        leaderboard.build(store.root, tmp_path / "site")


@pytest.mark.parametrize("name", [names.SIZES, names.CASES])
def test_what_a_board_can_be_shown_without_is_left_out_where_it_is_damaged(store, name, caplog):
    for _ in each(store.board_file("quick", name)):
        caplog.clear()
        (found,) = boards.of_store(Store(store.root))
        gallery = cases.Gallery(found, store, Path("nowhere"), "cases")
        assert (found.sizes is None) == (name == names.SIZES)
        assert gallery.allowed == (name != names.CASES)
        assert [said.startswith(str(store.board_file("quick", name))) for said in caplog.messages] == [True]
        store._told.clear()


@pytest.fixture
def here(ran, tmp_path) -> Store:
    """A store with the one trial of `ran`, and its board."""
    ran.run(tmp_path)
    write_protocol(replace(ran.prepared, paths=ran.paths(tmp_path)), "harness run")
    return Store(tmp_path / "runs")


def test_a_run_replaces_a_damaged_record(ran, here, tmp_path, caplog):
    one, ended = ran.one.id, []

    def run_one(one, paths, device):
        ended.append(trial.run(one, paths, device, lambda *_: ran.fitted))
        return ended[-1]

    prepared = replace(ran.prepared, paths=ran.paths(tmp_path))
    for _ in each(here.path(one) / names.RECORD):
        caplog.clear()
        outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=run_one)
        assert (outcome.already, outcome.count("done"), outcome.errors) == (0, 1, [])
        assert "harness run trains this trial again" in caplog.messages[0]
        assert here.is_done(one)
    assert ended == ["done"] * len(damages(here.path(one) / names.RECORD))


def test_a_run_writes_a_damaged_board_anew_and_keeps_what_it_was(ran, here, tmp_path, caplog):
    before = here.protocol("tiny")
    path = here.board_file("tiny")
    for damaged in each(path):
        write_protocol(replace(ran.prepared, paths=ran.paths(tmp_path)), "harness run")
        assert here.protocol("tiny").plan == before.plan
        assert here.board_file("tiny", names.DAMAGED_PROTOCOL).read_bytes() == damaged
        assert here.protocols() == ["tiny"]
    # And a further run does not throw it away.
    write_protocol(replace(ran.prepared, paths=ran.paths(tmp_path)), "harness run")
    assert here.board_file("tiny", names.DAMAGED_PROTOCOL).is_file()


def test_damaged_predictions_are_not_scored_again_and_the_run_says_so(ran, here, tmp_path):
    path = here.path(ran.one.id) / names.PREDICTIONS
    record = here.record(ran.one.id)
    stale = files.as_json(record.model_copy(update={"scoring": {"code": "older"}}))
    prepared = replace(ran.prepared, paths=ran.paths(tmp_path))
    for _ in each(path):
        files.write(here.path(ran.one.id) / names.RECORD, stale)
        outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=lambda *_: "done")
        assert [str(path) in said and "run the trial again" in said for said in outcome.errors] == [True]
        assert outcome.already == 1


def test_damaged_weights_stop_who_starts_from_them_and_no_other(ran, tmp_path):
    paths = ran.paths(tmp_path)
    prepared = prepare(["febs", "adv"], paths, **SMALL, epochs=1)
    erm = trial_of(prepared, "erm")
    assert trial.run(erm, paths, CPU) == "done"
    path = prepared.store.weights(erm.id)

    def run_one(one, paths, device):
        fitted = None if one.plugin.name == "febs" else (lambda *_: ran.fitted)
        return trial.run(one, paths, device, fitted)

    for _ in each(path):
        outcome = execute(prepared, Inline(), Silent(), 1, CPU, run_one=run_one)
        assert (outcome.count("stopped"), outcome.count("done"), outcome.count("failed")) == (1, 2, 0)
        (said,) = outcome.errors
        assert said.startswith(f"{path}: cannot be read (")
        assert said.endswith(f"; delete the record of trial {erm.id} and run it again.")


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 4], ids=["whole", "sample"])
def test_a_damaged_checkpoint_is_told_in_the_log_and_the_training_starts_again(
    ran, every, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", -1.0)
    two, paths = replace(ran.one, protocol=parse(**SMALL, epochs=2)), ran.paths(tmp_path)

    def trained(work: Path) -> bytes:
        work.mkdir(exist_ok=True)
        inputs = trial.gather(two, paths, CPU)
        return save(trial.train_here(two, inputs, CPU, work, lambda *_: None).state)

    whole = trained(tmp_path / "whole")
    kept = tmp_path / "whole" / names.CHECKPOINT
    (tmp_path / "other").mkdir()
    damaged = tmp_path / "other" / names.CHECKPOINT
    for content in damages(kept)[::every]:
        damaged.write_bytes(content)
        before(damaged).unlink(missing_ok=True)
        assert trained(damaged.parent) == whole
        assert f"{damaged}: cannot be read (" in (said := capsys.readouterr().out)
        assert said.endswith("); the training starts again.\n")
    # That of another training is none of this one's.
    content, method = torch.load(kept, weights_only=True), {"x": torch.zeros(1)}
    parts = ({"backbone": {}}, {"method": method}, {"optimizer": {}}, {"state": {"epoch": "x"}})
    for part in parts[::every]:
        torch.save(content | part, damaged)
        before(damaged).unlink()
        assert trained(damaged.parent) == whole
        assert "the training starts again" in capsys.readouterr().out
    shutil.copy(kept, damaged)
    assert trained(damaged.parent) == whole
    assert capsys.readouterr().out == "The training goes on after epoch 2 of 2, from its checkpoint.\n"
    # The one before a damaged one is an epoch older and whole.
    shutil.copy(before(kept), before(damaged))
    for content in damages(kept)[1::every]:
        damaged.write_bytes(content)
        shutil.copy(before(kept), before(damaged))
        assert trained(damaged.parent) == whole
        said = capsys.readouterr().out
        assert f"{damaged}: cannot be read (" in said
        assert "; the one before it is taken.\n" in said
        assert said.endswith("The training goes on after epoch 1 of 2, from its checkpoint.\n")


def test_progress_that_nobody_can_read_is_that_of_a_trial_that_starts(ran, tmp_path):
    store = Store(tmp_path)
    store.work(ran.one.id)
    files.note(store.progress(ran.one.id), b'{"stage": "training", "done": 3, "total": 7}')
    whole = {"stage": "training", "done": 3, "total": 7}
    assert queue.read_progress(store, ran.one.id) == whole
    for _ in each(store.progress(ran.one.id)):
        assert queue.read_progress(store, ran.one.id) == {"stage": "starting", "done": 0, "total": 1}
    assert queue.read_progress(store, ran.one.id) == whole


def test_a_damaged_file_of_tuned_values_is_named_with_what_mends_it(ran, tmp_path):
    path, protocol = tmp_path / "tuned.json", ran.prepared.protocol
    search = tune.Search(1, ran.prepared, {}, ())
    values = (Try(hyper_parameters={}, score=0.5),)
    one = Tuned(budget=1, seeds=(0,), patients=3, source_digest="", tries=values, chosen=0)
    tune.write(path, protocol, search, {"erm": one})
    table = json.loads(path.read_bytes())
    table["methods"]["erm"]["chosen"] = 7
    said = f"{path}: not a file of harness tune; delete it and run harness tune again, which repeats no try."
    for content in [*damages(path), json.dumps(table).encode()]:
        path.write_bytes(content)
        with pytest.raises(HarnessError) as read:
            tune.read_for(path, protocol)
        with pytest.raises(HarnessError) as written:
            tune.write(path, protocol, search, {"adv": one})
        assert str(read.value) == str(written.value) == said
    path.unlink()
    tune.write(path, protocol, search, {"erm": one})
    assert set(tune.read(path).methods) == {"erm"}


def test_a_try_whose_scores_are_damaged_costs_only_itself(ran, here):
    prepared = replace(ran.prepared, paths=Paths(here.root, None, ran.cache))
    attempt = tune.Attempt("my-method", {}, {("race", 0): ran.one})
    assert tune._scored(prepared, attempt).score is not None
    for _ in each(here.path(ran.one.id) / names.SCORES):
        said = tune._scored(prepared, attempt)
        assert (said.score, names.SCORES in said.error) == (None, True)


def test_a_damaged_cohort_is_built_anew(tmp_path):
    wanted = parse(**SMALL)
    whole = cohorts.load(wanted, None, tmp_path)
    digest, masks = whole.digest, np.array(whole.masks)
    (entry,) = (tmp_path / "cohorts").iterdir()
    for name in ("cohort.json", "images.npy", "masks.npy", "samples.parquet"):
        for content in damages(entry / name):
            (entry / name).write_bytes(content)
            found = cohorts.load(wanted, None, tmp_path)
            assert (found.digest, np.array_equal(found.masks, masks)) == (digest, True)
            assert [path.name for path in (tmp_path / "cohorts").iterdir()] == [entry.name]


def test_damaged_embeddings_are_computed_anew(ran, tmp_path):
    protocol = parse(**FROZEN)
    cohort = cohorts.load(protocol, None, ran.cache)
    prepared = Prepared(protocol, cohort, Plan({}, ()), (), Paths(tmp_path / "runs", None, tmp_path))

    def maps() -> np.ndarray:
        told: list[tuple[str, int, int]] = []
        embed_cohort(prepared, Inline(), 1, CPU, lambda *one: told.append(one))
        assert all(done == total > 0 for _, done, total in told)  # of the last look: all batches are there
        return np.array(embed.open_embeddings(protocol, cohort, tmp_path, CPU)[0])

    whole = maps()
    (path,) = (tmp_path / "embeddings").glob("*/map0.npy")
    for content in (b"", path.read_bytes()[:500], np.random.default_rng(0).bytes(500), *OTHER[".npy"]):
        path.write_bytes(content)
        assert np.array_equal(maps(), whole)
    # And so are those that an interrupted run left half done.
    for name in ("map0.npy", "done.npy"):
        for content in (b"", b"\x93NUMPY", *OTHER[".npy"]):
            shutil.rmtree(path.parent)
            embed.embed_shard(protocol, cohort, tmp_path, 0, 2, CPU)
            (part,) = (tmp_path / "embeddings").glob("*.part")
            (part / name).write_bytes(content)
            assert np.array_equal(maps(), whole)


def test_damaged_digests_of_samples_are_made_anew(ran, tmp_path):
    masks = ran.prepared.cohort.masks
    whole = contents.digests(masks, tmp_path)
    (path,) = (tmp_path / contents.FOLDER).iterdir()
    for content in (b"", path.read_bytes()[:100], np.random.default_rng(0).bytes(500), *OTHER[".npy"]):
        path.write_bytes(content)
        assert np.array_equal(contents.digests(masks, tmp_path), whole)


def test_a_damaged_copy_of_the_masks_is_not_given_to_a_container(ran, tmp_path):
    path = staging._blank_copy(ran.prepared.cohort, tmp_path)
    whole = path.read_bytes()
    for content in (b"", whole[:500], np.random.default_rng(0).bytes(500), *OTHER[".npy"]):
        path.write_bytes(content)
        assert staging._blank_copy(ran.prepared.cohort, tmp_path).read_bytes() == whole


def test_a_plugin_is_asked_again_where_what_it_said_is_damaged(ran, tmp_path):
    asked = []
    about = {
        "card": {"title": "Mine", "authors": "", "paper": "", "url": "", "licence": ""}, "defaults": {},
        "kinds": {}, "reads_attribute": True, "starts_from": None, "sampler": "uniform", "controls": {},
        "search": {}, "packages": {}, "trains_own_model": False,
        "reads_attribute_at_test": False, "adapts": False, "takes": "weights", "sharpness": None,
        "averages_from": None, "weighs_samples": False, "mixes": False,
    }  # fmt: skip

    class Box(runs.Sandbox):
        def _ask(self, plugin, image):
            asked.append(plugin)
            return about

    box = Box("cpu", Limits(), tmp_path, "")
    assert isinstance(box._describe(ran.plugin, "image"), About)
    assert isinstance(box._describe(ran.plugin, "image"), About)
    assert len(asked) == 1
    (path,) = (tmp_path / "sandbox").iterdir()
    for n, content in enumerate(damages(path), 2):
        path.write_bytes(content)
        assert isinstance(box._describe(ran.plugin, "image"), About)
        assert len(asked) == n


def test_damaged_pretrained_weights_are_named_with_the_command_that_fetches_them(tmp_path):
    path = tmp_path / "weights" / weights.CHECKPOINTS["mobile-sam"].file
    path.parent.mkdir()
    for content in (b"", b"half", *OTHER[".pt"]):
        path.write_bytes(content)
        with pytest.raises(HarnessError) as error:
            weights.find("mobile-sam", tmp_path)
        assert str(error.value).startswith(f"{path}: not the official file")
        assert "`harness weights fetch mobile-sam`" in str(error.value)


def test_a_damaged_site_to_compare_with_is_one_sentence(store, tmp_path):
    leaderboard.build(store.root, tmp_path / "site")
    path = tmp_path / "site" / "leaderboard.json"
    for _ in each(path):
        with pytest.raises(HarnessError) as error:
            leaderboard.diff(path, tmp_path / "site")
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
