"""Layers of a method's own: what they may read and when, what is refused, and that a kill changes no bit."""

from __future__ import annotations

import copy
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from asking import here, told
from tiny import CPU, prepare, trial_of

from harness import backbones
from harness.errors import HarnessError, TrialError
from harness.plugin import discovery
from harness.protocol import BackboneSpec
from harness.running import trial
from harness.running.trial import Paths
from harness.training import fit, passes, underway

HALF = {"source": "synthetic", "size": 64, "samples": 24, "shift": 1.0, "seed": 0}

COMPARED = ("predictions.npz", "scores.parquet", "curve.csv")

METHOD = """
import torch
from torch import nn
from harness import Card, Method, segmentation_loss

SEEN = []

class Spy(nn.Module):
    def __init__(self, head, groups):
        super().__init__()
        self.head, self.groups = head, groups

    def forward(self, z):
        SEEN.append((self.training, torch.is_grad_enabled(), self.groups().tolist()))
        return self.head(z)

class Mine(Method):
    card = Card(title="Mine")
    trains_own_model = True
    {line}

    def adapt(self, backbone, groups):
        name = backbone.heads[0]
        backbone.set_submodule(name, Spy(backbone.get_submodule(name), groups))
        return backbone

    def calibrate(self, seen):
        self.calibrated = [(batch, output) for batch, output in seen]
        SEEN.append("calibrated")
        SEEN.append(self.calibrated)

    def loss(self, batch, output):
        return segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def write(folder: Path, text: str) -> str:
    file = folder / "mine.py"
    file.write_text(text)
    return str(file)


def run(folder: Path, cache: Path, line: str, **changes):
    """Train the spy; return the prepared run, its trial and all that the layer saw."""
    paths = Paths(folder / "runs", None, cache)
    prepared = prepare(
        [write(folder, METHOD.format(line=line))], paths, seeds=(0,), epochs=1, cohort=HALF, **changes
    )
    one = trial_of(prepared, "mine")
    # One loaded class for both, so that what it saw is at hand.
    module = discovery.imported(one.plugin)
    method = discovery.method_of(module, one.plugin)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "load", lambda plugin: method)
        assert trial.run(one, paths, CPU) == "done", prepared.store.record(one.id).error
    return prepared, one, module.SEEN


def codes_when(seen: list, *, training: bool) -> np.ndarray:
    found = [one[2] for one in seen if isinstance(one, tuple) and one[0] is training]
    return np.array([code for codes in found for code in codes])


@pytest.mark.parametrize(
    ("line", "train", "test"),
    [
        ("reads_attribute_at_test = True", True, True),
        ("", True, False),
        ("reads_attribute = False", False, False),
    ],
)
def test_layers_read_the_groups_of_training_and_at_test_only_where_that_is_declared(
    tmp_path, cache, line, train, test
):
    prepared, one, seen = run(tmp_path, cache, line)
    cohort = prepared.cohort
    codes = cohort.codes("race")
    trained, after = codes_when(seen, training=True), seen[seen.index("calibrated") + 2 :]
    # A last batch that is not full is left out, and a group with it maybe.
    assert set(trained) <= (set(codes[cohort.rows("train")]) if train else {-1})
    assert len(set(trained)) > 1 or not train
    predicted = codes_when(after, training=False)
    expected = codes[cohort.rows("test")] if test else np.full(len(cohort.rows("test")), -1)
    np.testing.assert_array_equal(predicted, expected)
    assert prepared.store.record(one.id).method.reads_attribute_at_test is test


def test_what_is_calibrated_on_is_the_training_samples_as_they_are_and_in_order(tmp_path, cache):
    prepared, _, seen = run(tmp_path, cache, "reads_attribute_at_test = True")
    cohort = prepared.cohort
    rows = cohort.rows("train")
    pairs = seen[seen.index("calibrated") + 1]
    samples = torch.cat([batch.samples for batch, _ in pairs]).numpy()
    np.testing.assert_array_equal(samples, np.arange(len(rows)))
    images = torch.cat([batch.images for batch, _ in pairs]).numpy()
    np.testing.assert_allclose(images, np.moveaxis(cohort.images[rows], -1, 1) / 255, atol=1e-6)
    groups = torch.cat([batch.groups for batch, _ in pairs]).numpy()
    np.testing.assert_array_equal(groups, cohort.codes("race")[rows])
    assert not any(output.logits.requires_grad for _, output in pairs)


def test_the_validation_split_is_predicted_as_the_test_split_is(tmp_path, cache):
    selection = {"split": {"test": 0.4, "validation": 0.2}, "selection": "best-validation"}
    prepared, one, seen = run(tmp_path, cache, "reads_attribute_at_test = True", **selection)
    cohort = prepared.cohort
    before = codes_when(seen[: seen.index("calibrated")], training=False)[: len(cohort.rows("validation"))]
    np.testing.assert_array_equal(before, cohort.codes("race")[cohort.rows("validation")])
    # Whose group is read decides what is predicted, so an id has it.
    told_of = one.identity["attribute"]
    assert {"test codes", "validation codes"} < told_of.keys()


def test_groups_are_asked_for_only_while_samples_are_on_their_way():
    with pytest.raises(RuntimeError, match="no samples are on their way"):
        underway.groups()
    with underway.samples_of(torch.tensor([1, -1])):
        assert underway.groups().tolist() == [1, -1]
    with pytest.raises(RuntimeError, match="no samples are on their way"):
        underway.groups()


def test_slices_are_refused_for_layers_that_may_mix_samples():
    backbone = backbones.build(BackboneSpec(name="sam", variant="tiny", adapt="full"), 3, 64, None)
    passes.check_slices(backbone.train(), 4)
    with pytest.raises(HarnessError, match="layers of its own, which may mix the samples"):
        passes.check_slices(backbone.train(), 4, own_layers=True)


BAD = """
from torch import nn
from harness import Card, Method

class Bad(Method):
    card = Card(title="Bad")
    trains_own_model = True

    def __init__(self, task):
        super().__init__(task)
        self.own = nn.Linear(8, 8)

    def adapt(self, backbone, groups):
{body}

    def loss(self, batch, output):
        return output.losses.mean()
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", r"Bad.adapt returned NoneType; return the backbone"),
        ("return nn.Linear(2, 2)", r"Bad.adapt returned Linear; return the backbone"),
        ("backbone.requires_grad_(True)\nreturn backbone", r"Bad.adapt lets weights be trained that"),
        (
            "backbone.own = self.own\nreturn backbone",
            r"Bad.adapt puts weights into the network that __init__",
        ),
    ],
)
def test_an_adapted_network_that_is_none_or_trains_what_it_must_not_is_refused(tmp_path, body, message):
    file = tmp_path / "bad.py"
    file.write_text(BAD.format(body=textwrap.indent(body, " " * 8)))
    plugin = discovery.find(str(file))
    backbone = backbones.build(BackboneSpec(name="sam", variant="tiny", adapt="lora"), 3, 64, None)
    with pytest.raises(TrialError, match=message):
        here(plugin, told("bad")).adapt(backbone)


def test_first_weights_of_own_layers_follow_from_the_seed_alone():
    plugin = discovery.find("domain-independent")
    spec = BackboneSpec(name="sam", variant="tiny", adapt="full")
    torch.manual_seed(0)
    backbone = backbones.build(spec, 3, 64, None)
    made = []
    for draws in (0, 5):
        torch.rand(draws)
        made.append(here(plugin, told("domain-independent")).adapt(copy.deepcopy(backbone)).state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_a_training_that_is_killed_goes_on_to_the_same_bytes(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    files = []
    for name in ("whole", "killed"):
        paths = Paths(tmp_path / name, None, cache)
        one = trial_of(prepare(["domain-independent"], paths, epochs=3, cohort=HALF), "domain-independent")
        if name == "killed":
            with monkeypatch.context() as dying:
                dying.setattr(fit, "_validate", _dies_in_epoch(1))
                with pytest.raises(KeyboardInterrupt):
                    trial.run(one, paths, CPU)
            assert (tmp_path / name / "work" / one.id / "checkpoint.pt").is_file()
        assert trial.run(one, paths, CPU) == "done"
        folder = paths.runs / "records" / one.id
        files.append({n: (folder / n).read_bytes() for n in COMPARED})
    assert files[0] == files[1]


def _dies_in_epoch(epoch: int):
    def validate(job, state) -> None:
        if state.epoch == epoch:
            raise KeyboardInterrupt

    return validate


def test_nobody_starts_from_a_network_with_layers_of_its_own(tmp_path, cache):
    text = METHOD.format(line='starts_from = "domain-independent"')
    with pytest.raises(HarnessError, match="starts_from = 'domain-independent', which has layers of its own"):
        prepare([write(tmp_path, text)], Paths(tmp_path / "runs", None, cache))
