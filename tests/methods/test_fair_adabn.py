import numpy as np
import pytest
import torch
from conftest import make_batch, make_task
from reference import risk, softmax
from torch import nn
from toy import Toy

from harness import backbones
from harness.protocol import BackboneSpec
from harness.training import underway
from methods.fair_adabn import FairAdaBN, disparity


def batch_normalised(x):
    """Each channel to mean 0 and variance 1 over samples and pixels."""
    return (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)


def test_every_group_is_normalised_by_its_own_samples_and_keeps_its_own_statistics():
    codes = torch.tensor([0, 2, 0, 2])
    norm = FairAdaBN(make_task()).adapt(Toy(), lambda: codes).train().norm
    x = np.random.default_rng(0).normal(3, 2, size=(4, 4, 3, 3))
    made = norm(torch.tensor(x).float()).detach().numpy()
    for rows in ([0, 2], [1, 3]):
        np.testing.assert_allclose(made[rows], batch_normalised(x[rows]), atol=1e-4)
    # Momentum 0.1, from 0; group 1 was not there.
    means = [one.running_mean.numpy() for one in norm.norms]
    np.testing.assert_allclose(means[0], 0.1 * x[[0, 2]].mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(means[1], 0)
    np.testing.assert_allclose(means[2], 0.1 * x[[1, 3]].mean((0, 2, 3)), atol=1e-5)


def test_unknown_samples_get_the_mean_of_the_groups_and_enter_no_statistics():
    norm = FairAdaBN(make_task()).adapt(Toy(), lambda: torch.tensor([-1, -1])).train().norm
    for shift, one in enumerate(norm.norms):
        one.running_mean.fill_(shift)
    x = torch.rand(2, 4, 3, 3)
    # Of running means 0, 1 and 2 and variance 1.
    np.testing.assert_allclose(norm(x).detach(), (x - 1) / np.sqrt(1 + 1e-5), atol=1e-5)
    assert [one.running_mean.tolist() for one in norm.norms] == [[shift] * 4 for shift in (0.0, 1.0, 2.0)]
    assert all(one.training for one in norm.norms)


def test_one_value_a_channel_has_no_statistics_of_its_own():
    norm = FairAdaBN(make_task()).adapt(Toy(), lambda: torch.tensor([0, 1])).train().norm
    x = torch.rand(2, 4, 1, 1)
    np.testing.assert_allclose(norm(x).detach(), x / np.sqrt(1 + 1e-5), atol=1e-6)


def test_disparity_is_the_mean_over_pairs_of_the_groups_present():
    batch, output = make_batch([0, 0, 1, 2, -1])
    p = softmax(output.logits.detach().numpy()).mean((2, 3))
    means = [p[:2].mean(0), p[2], p[3]]
    pairs = [((means[a] - means[b]) ** 2).sum() for a, b in ((0, 1), (0, 2), (1, 2))]
    found = disparity(output.logits.softmax(1), batch.groups).item()
    assert found == pytest.approx(np.mean(pairs), rel=1e-5)
    loss = FairAdaBN(make_task(), alpha=2.0).loss(batch, output).item()
    expected = risk(output.logits.detach().numpy(), batch.masks.numpy()) + 2 * np.mean(pairs)
    assert loss == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("groups", [[1, 1, 1], [-1, -1]])
def test_without_a_pair_of_groups_the_loss_is_the_recipes(groups):
    batch, output = make_batch(groups)
    expected = risk(output.logits.detach().numpy(), batch.masks.numpy())
    assert FairAdaBN(make_task()).loss(batch, output).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "spec",
    [
        BackboneSpec(name="unet", variant="tu-mobilenetv3_small_050", adapt="full"),
        BackboneSpec(name="sam", variant="tiny", adapt="full"),
        BackboneSpec(name="mobile-sam", adapt="frozen"),
        BackboneSpec(name="mobile-sam", adapt="full"),
    ],
    ids=lambda spec: f"{spec.name} {spec.adapt}",
)
def test_before_training_a_network_predicts_as_the_backbone_and_only_what_is_trained_is_copied(spec):
    backbone = backbones.build(spec, 3, 64, None).eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    fixed = {name for name, weight in backbone.named_parameters() if not weight.requires_grad}
    with torch.no_grad():
        before, _ = backbone(images)
        network = FairAdaBN(make_task()).adapt(backbone, underway.groups).eval()
        with underway.samples_of(torch.tensor([0, 2, -1])):
            after, _ = network(images)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    assert fixed == {name for name, weight in network.named_parameters() if not weight.requires_grad}


def test_a_network_without_a_trained_normalisation_is_refused():
    toy = Toy()
    toy.norm.requires_grad_(False)
    with pytest.raises(ValueError, match="no normalisation of this backbone is trained"):
        FairAdaBN(make_task()).adapt(toy, lambda: None)
    assert isinstance(toy.norm, nn.BatchNorm2d)
