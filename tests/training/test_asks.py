"""What a training does for a method beside asking for losses: as declared, by hand, and on after a kill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from asking import RECIPE, asked_by, here, told
from conftest import make_task
from tiny import CPU, prepare, trial_of
from torch import nn

from harness.backbones.backbone import Backbone
from harness.errors import HarnessError, TrialError
from harness.plugin import asks, declared, discovery
from harness.plugin.asks import PLAIN, Asks
from harness.plugin.losses import sample_losses, segmentation_loss
from harness.running import trial
from harness.running.paths import Paths
from harness.seeds import generator
from harness.training import fit as fitting
from harness.training import mixing, sampling
from harness.training.checkpoint import Checkpoint, epochs_in
from harness.training.feed import Feed
from harness.training.fit import fit, trained_state
from harness.training.job import Job, Schedule
from harness.training.sharpness import climbed

SIDE, SAMPLES = 16, 24
RECIPE = RECIPE.model_copy(update={"augmentation": "flip", "epochs": 3, "planned_epochs": 3})


class Net(Backbone):
    """Two convolutions with dropout and batch normalisation between them."""

    n_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.3)
        self.last = nn.Conv2d(4, 3, 1)

    def encode(self, images):
        return (images,)

    def decode(self, maps):
        found = self.drop(self.norm(self.first(maps[0])).relu())
        return self.last(found), found.mean((2, 3))


@pytest.fixture(scope="module")
def feed():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (SAMPLES, SIDE, SIDE, 3), np.uint8)
    masks = rng.integers(0, 3, (SAMPLES, SIDE, SIDE), np.uint8)
    return Feed(images, masks, [], np.arange(SAMPLES), CPU)


def network(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def job(feed, folder, side, backbone=None, asked=PLAIN, teacher=None, **changes) -> Job:
    groups = np.arange(SAMPLES) % 3
    folder.mkdir(exist_ok=True)
    made = Job(
        side=side,
        sampler="uniform",
        backbone=backbone or network(),
        feed=feed,
        recipe=RECIPE,
        schedule=Schedule.of(RECIPE, finetunes=False),
        groups=groups,
        codes={},
        seed=0,
        name="mine",
        checkpoint=Checkpoint(folder / "checkpoint"),
        progress=lambda *_: None,
        asks=asked,
        teacher=teacher,
    )
    return replace(made, **changes)


def method(name: str = "erm", **values):
    task = make_task(n_features=4, n_samples=SAMPLES)
    return here(discovery.find(name), told("mine", task=task, hyper_parameters=values))


class Told:
    """A side that notes what it is asked, and gives what it is to give."""

    def __init__(self, side, weights=None, mix=None):
        self.side, self.given, self.mixed = side, weights, mix
        self.losses, self.batches, self.teachers, self.probes = [], [], [], []

    def __getattr__(self, name):
        return getattr(self.side, name)

    def weights(self, epoch, losses):
        self.losses.append(losses)
        return self.given

    def mix(self, groups, samples):
        return self.mixed

    def answer(self, batch, logits, features, factor, teacher=None, probe=False):
        self.batches.append(batch)
        self.teachers.append(teacher)
        self.probes.append(probe)
        return self.side.answer(batch, logits, features, factor, teacher, probe)


def test_systematic_draws_are_each_samples_share_rounded_up_or_down():
    weights = np.array([0.0, 1.0, 2.0, 3.5, 0.0, 8.0, 0.5])
    expected = 40 * weights / weights.sum()
    counts = []
    for seed in range(300):
        picks = sampling.weighted(weights, 40, generator("t", seed))
        counts.append(np.bincount(picks, minlength=7))
        assert len(picks) == 40
        assert (np.abs(counts[-1] - expected) < 1 + 1e-9).all()
    # 300 draws of a number that is one of two: within four standard errors of its mean.
    assert np.abs(np.mean(counts, 0) - expected).max() < 4 * 0.5 / np.sqrt(300)


def test_equal_weights_are_a_pass_over_the_table():
    assert sorted(sampling.weighted(np.full(50, 0.3), 50, generator("t", 0))) == list(range(50))


@pytest.mark.parametrize("weights", [[1e308] * 9 + [0], [5e-324] * 9 + [0], [0] * 9 + [1e-300]])
def test_weights_at_the_ends_of_their_range_draw_who_has_one(weights):
    picks = sampling.weighted(np.array(weights, float), 30, generator("t", 1))
    assert (np.array(weights)[picks] > 0).all()


def test_samples_are_drawn_by_the_weights_that_are_in_force(feed, tmp_path):
    weights = np.zeros(SAMPLES)
    weights[[3, 7]] = 1, 3
    side = Told(method(), weights)
    fit(job(feed, tmp_path, side, asked=Asks(weighs=True)))
    epochs = np.stack([batch.samples.numpy() for batch in side.batches]).reshape(3, -1)
    assert sorted(epochs[0]) == list(range(SAMPLES))
    assert [np.bincount(epoch, minlength=SAMPLES)[[3, 7]].tolist() for epoch in epochs[1:]] == [[6, 18]] * 2


def test_the_losses_that_are_told_are_the_means_of_each_samples_own(feed, tmp_path):
    weights = np.ones(SAMPLES)
    weights[:4] = 0
    side = Told(method(), weights)
    backbone = network().eval()
    backbone.train = lambda mode=True: backbone
    still = RECIPE.model_copy(update={"learning_rate": 0.0, "augmentation": "none", "weight_decay": 0.0})
    schedule = Schedule.of(still, finetunes=False)
    fit(job(feed, tmp_path, side, backbone, Asks(weighs=True), recipe=still, schedule=schedule))
    first, second, _ = side.losses
    every = np.arange(SAMPLES)
    logits = backbone.decode((feed.images(every),))[0]
    expected = sample_losses(logits, feed.masks(every).long(), RECIPE.dice_weight).detach()
    torch.testing.assert_close(first, expected)
    assert second[:4].isnan().all()
    torch.testing.assert_close(second[4:], expected[4:])


def test_a_sharper_step_is_that_of_the_gradient_at_the_top(feed, tmp_path):
    """Against the two passes written out, with plain SGD so that the step is the gradient."""
    plain = RECIPE.model_copy(
        update={"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "epochs": 1, "augmentation": "none"}
    )
    schedule = replace(Schedule.of(plain, finetunes=False), batch_size=SAMPLES)
    backbone, twin, radius, side = network(), network(), 0.5, Told(method())
    backbone.drop.p = twin.drop.p = 0.0
    fit(job(feed, tmp_path, side, backbone, Asks(radius=radius), recipe=plain, schedule=schedule))
    one, other = side.batches
    assert side.probes == [True, False]
    assert torch.equal(one.images, other.images)
    start = [p.detach().clone() for p in twin.parameters()]

    def gradients():
        loss = segmentation_loss(twin.decode((one.images,))[0], one.masks, plain.dice_weight)
        return torch.autograd.grad(loss, list(twin.parameters()))

    first = gradients()
    length = torch.cat([gradient.flatten() for gradient in first]).norm()
    with torch.no_grad():
        for weight, gradient in zip(twin.parameters(), first, strict=True):
            weight += radius * gradient / length
    for weight, before, gradient in zip(backbone.parameters(), start, gradients(), strict=True):
        torch.testing.assert_close(weight.detach(), before - schedule.learning_rate * gradient)
    # The statistics of batch normalisation were moved once, by the first pass.
    assert int(backbone.norm.num_batches_tracked) == 1


def test_both_passes_of_a_sharper_step_draw_the_same_numbers(feed, tmp_path):
    backbone, masks = network(), []
    backbone.drop.register_forward_hook(lambda _, __, made: masks.append(made.detach() == 0))
    fit(job(feed, tmp_path, method(), backbone, Asks(radius=1e-9)))
    pairs = list(zip(masks[::2], masks[1::2], strict=True))
    assert all(torch.equal(one, other) for one, other in pairs)
    assert not torch.equal(pairs[0][0], pairs[1][0])


def test_a_radius_of_nothing_is_the_plain_training_to_the_bit(feed, tmp_path):
    plain, sharp = network(), network()
    curve = fit(job(feed, tmp_path / "a", method(), plain)).curve
    other = fit(job(feed, tmp_path / "b", method(), sharp, Asks(radius=0.0))).curve
    assert curve == other
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), sharp.parameters(), strict=True))


def test_weights_come_back_from_the_climb_to_the_bit_also_from_no_number():
    backbone = network()
    before = {name: one.clone() for name, one in backbone.state_dict().items()}
    for one in backbone.parameters():
        one.grad = torch.full_like(one, torch.nan)
    with climbed(backbone, 1.0):
        assert backbone.last.weight.isnan().all()
        backbone.norm.running_mean += 1
    assert all(torch.equal(one, before[name]) for name, one in backbone.state_dict().items())


def test_what_fails_at_the_top_leaves_the_weights_as_they_were():
    backbone = network()
    before = {name: one.clone() for name, one in backbone.state_dict().items()}
    for one in backbone.parameters():
        one.grad = torch.ones_like(one)
    with pytest.raises(ValueError, match="at the top"), climbed(backbone, 1.0):
        raise ValueError("at the top")
    assert all(torch.equal(one, before[name]) for name, one in backbone.state_dict().items())


def test_the_average_is_the_mean_of_the_weights_after_each_late_step(feed, tmp_path, monkeypatch):
    """Against the weights as an outsider notes them after each step."""
    noted, backbone = [], network()
    whole = fitting._average

    def note(job, state, step, per_epoch):
        noted.append(trained_state(job.backbone))
        whole(job, state, step, per_epoch)

    monkeypatch.setattr(fitting, "_average", note)
    fit(job(feed, tmp_path, method(), backbone, Asks(averages_from=0.4)))
    assert len(noted) == 18
    found, late = trained_state(backbone), noted[7:]  # the first of 18 steps at or after 0.4 of them
    for name, value in found.items():
        if value.is_floating_point():
            mean = np.mean([one[name].double().numpy() for one in late], 0)
            np.testing.assert_allclose(value.numpy(), mean, rtol=2e-6, atol=1e-7)
    assert int(found["norm.num_batches_tracked"]) == 18


def test_validation_scores_and_chooses_the_average(feed, tmp_path):
    seen, backbone = [], network()

    def validate(net):
        seen.append(net.last.weight.detach().clone())
        return float(len(seen))

    best = RECIPE.model_copy(update={"selection": "best-validation"})
    asked = Asks(averages_from=0.0)
    fit(job(feed, tmp_path, method(), backbone, asked, recipe=best, validate=validate))
    assert torch.equal(backbone.last.weight, seen[-1])
    plain = network()
    fit(job(feed, tmp_path / "b", method(), plain))
    assert not torch.equal(plain.last.weight, seen[-1])


def test_mixed_images_are_what_was_asked_and_the_masks_are_both(feed, tmp_path):
    partners, shares = np.array([1, 0, 3, 2]), np.array([0.25, 1.0, 0.0, 0.5], np.float32)
    side = Told(method(), mix=mixing.Mix(partners, shares))
    fit(
        job(
            feed,
            tmp_path,
            side,
            asked=Asks(mixes=True),
            recipe=RECIPE.model_copy(update={"augmentation": "none"}),
        )
    )
    for batch in side.batches:
        own = feed.images(batch.samples.numpy()).numpy()
        expected = [s * a + (1 - s) * b for s, a, b in zip(shares, own, own[partners], strict=True)]
        np.testing.assert_allclose(batch.images.numpy(), expected, atol=1e-6)
        masks = feed.masks(batch.samples.numpy()).long()
        assert torch.equal(batch.masks, masks)
        assert torch.equal(batch.other_masks, masks[partners])


def test_maps_of_a_frozen_encoder_are_mixed_in_the_images_place(tmp_path):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (8, SIDE, SIDE, 3), np.uint8)
    masks = rng.integers(0, 3, (8, SIDE, SIDE), np.uint8)
    maps = rng.random((2, 8, 3, SIDE, SIDE)).astype(np.float16)
    feed, seen, backbone = Feed(images, masks, [maps], np.arange(8), CPU), [], network()
    decode = backbone.decode
    backbone.decode = lambda given: seen.append(given[0].clone()) or decode(given)
    partners, shares = np.array([3, 3, 0, 1]), np.array([0.25, 1.0, 0.0, 0.5], np.float32)
    side = Told(method(), mix=mixing.Mix(partners, shares))
    fit(job(feed, tmp_path, side, backbone, Asks(mixes=True), groups=np.zeros(8, np.int64), most=0))
    for given, batch in zip(seen, side.batches, strict=True):
        picks = batch.samples.numpy()
        # The variant of each sample, told by its image: half of them are mirrored.
        own = np.stack([_variant(maps, masks, p, batch, row) for row, p in enumerate(picks)])
        expected = [s * a + (1 - s) * b for s, a, b in zip(shares, own, own[partners], strict=True)]
        np.testing.assert_allclose(given.numpy(), expected, atol=1e-3)


def _variant(maps, masks, pick, batch, row):
    """The map of a sample under the variant by which its mask was turned."""
    turned = np.array_equal(batch.masks[row].numpy(), masks[pick][:, ::-1])
    return maps[int(turned), pick].astype(np.float32)


def test_the_teacher_is_the_other_network_as_it_predicts(feed, tmp_path):
    teacher, side = network(5).eval(), Told(method("distillation"))
    fit(job(feed, tmp_path, side, asked=Asks(taught=True), teacher=teacher, most=0))
    assert not teacher.training
    for batch, logits in zip(side.batches, side.teachers, strict=True):
        with torch.no_grad():
            expected = teacher.decode((batch.images,))[0]
        assert torch.equal(logits, expected)


USES_ALL = Asks(weighs=True, mixes=True, taught=True, radius=0.05, averages_from=0.2)


@pytest.mark.parametrize("asked", [USES_ALL, Asks(weighs=True), Asks(averages_from=0.5)])
def test_a_training_that_was_cut_off_after_any_epoch_ends_in_the_same_bits(
    feed, tmp_path, monkeypatch, asked
):
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", -1.0)
    weights = np.arange(SAMPLES) % 5 + 0.5
    mix = mixing.Mix(np.array([1, 0, 3, 2]), np.full(4, 0.7, np.float32))

    def train(folder, most: int):
        folder.mkdir(exist_ok=True)
        backbone = network()
        side = Told(method(), weights, mix)
        made = job(feed, folder, side, backbone, asked, network(5).eval() if asked.taught else None)
        end, ended = side.side.end, []
        side.side.end = lambda epoch: _cut(ended, epoch, most) or end(epoch)
        try:
            curve = fit(made).curve
        except InterruptedError:
            return None
        return curve, trained_state(backbone)

    whole_curve, whole = train(tmp_path / "whole", 9)
    for cut in (1, 2):
        assert train(tmp_path / f"cut{cut}", cut) is None
        assert epochs_in(tmp_path / f"cut{cut}" / "checkpoint") == cut
        curve, state = train(tmp_path / f"cut{cut}", 9)
        assert curve == whole_curve
        assert all(torch.equal(state[name], whole[name]) for name in whole)


def _cut(ended, epoch, most):
    if epoch >= most:
        raise InterruptedError


NOT_MIXES = {
    "no pair": torch.zeros(4),
    "one tensor too few": (torch.zeros(4, dtype=torch.int64),),
    "rows that are no whole numbers": (torch.zeros(4), torch.ones(4)),
    "other lengths": (torch.zeros(3, dtype=torch.int64), torch.ones(4)),
    "words": ("a", "b"),
    "a partner beyond the batch": (torch.full((4,), 4), torch.ones(4)),
    "a share above 1": (torch.zeros(4, dtype=torch.int64), torch.full((4,), 1.5)),
    "a share that is no number": (torch.zeros(4, dtype=torch.int64), torch.full((4,), torch.nan)),
}


@pytest.mark.parametrize("what", NOT_MIXES)
def test_what_is_no_mix_of_a_batch_is_said_in_one_sentence(what):
    with pytest.raises(TrialError, match=r"^mine: mix g[^\n]*\.$"):
        mixing.checked(NOT_MIXES[what], 4, "mine")


NOT_WEIGHTS = {
    "too few": torch.ones(4),
    "a word": "much",
    "two axes": torch.ones(5, 1),
    "no number": torch.tensor([1, 1, 1, 1, torch.nan]),
    "infinity": torch.tensor([1, 1, 1, 1, torch.inf]),
    "below nothing": torch.tensor([1, 1, 1, 1, -1.0]),
    "nothing": torch.zeros(5),
}


@pytest.mark.parametrize("what", NOT_WEIGHTS)
def test_what_are_no_weights_is_said_in_one_sentence(what):
    with pytest.raises(TrialError, match=r"^mine: sampling_weights g[^\n]*\.$"):
        sampling.checked(NOT_WEIGHTS[what], 5, "mine")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sharpness-aware", {"rho": -0.1}),
        ("sharpness-aware", {"rho": float("inf")}),
        ("sharpness-aware", {"rho": float("nan")}),
        ("swad", {"start": 1.0}),
        ("swad", {"start": True}),
        ("swad", {"start": None}),
    ],
)
def test_a_declared_number_that_cannot_be_is_refused(name, values):
    with pytest.raises(HarnessError, match=rf"^{name}: \w+ = .*; it is a number, at least 0 and [^\n]*\.$"):
        asked_by(discovery.find(name), **values)


def test_passes_are_counted():
    about = {
        name: declared.of(discovery.load(plugin), plugin) for name, plugin in discovery.discover().items()
    }
    passes = {name: one.passes for name, one in about.items() if one.passes != 1}
    assert passes == {"sharpness-aware": 2, "distillation": 2}
    for name, one in about.items():
        assert asks.of(one, one.defaults, name).passes == one.passes


def test_a_record_says_how_often_a_batch_went_through_a_network(tmp_path):
    paths = Paths(tmp_path / "runs", None, tmp_path / "cache")
    prepared = prepare(["distillation"], paths, seeds=(0,), attributes={"race": {}})
    for one in prepared.plan.trials.values():
        assert trial.run(one, paths, CPU) == "done"
    erm, taught = (prepared.store.record(trial_of(prepared, name).id) for name in ("erm", "distillation"))
    # 48 training samples, 8 a batch, two epochs: 12 steps.
    assert (erm.cost.passes, erm.method.passes) == (12, 1)
    assert (taught.cost.passes, taught.method.passes) == (24, 2)
    assert taught.started_from == erm.id
