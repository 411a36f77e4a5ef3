import numpy as np
import pytest
import torch
from conftest import make_batch, make_task
from reference import risk
from torch import nn

from harness import backbones
from harness.protocol import BackboneSpec
from harness.training import underway
from methods._groups import shares_of
from methods.domain_independent import DomainIndependent


class Toy(nn.Module):
    """One linear head."""

    heads = ("head",)

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 1, bias=False)


def test_a_sample_gets_its_own_groups_head_and_one_of_unknown_group_their_mean():
    codes = torch.tensor([0, 1, 2, -1])
    method = DomainIndependent(make_task())
    network = method.adapt(Toy(), lambda: codes)
    with torch.no_grad():
        for head, weight in zip(network.head.heads, ([1.0, 0.0], [0.0, 10.0], [100.0, 100.0]), strict=True):
            head.weight.copy_(torch.tensor([weight]))
    z = torch.tensor([[1.0, 2.0]] * 4)
    # 1 x 1; 10 x 2; 100 x 1 + 100 x 2; and (1 + 20 + 300) / 3.
    np.testing.assert_allclose(network.head(z).detach().ravel(), [1, 20, 300, 107])


def test_a_group_that_is_absent_leaves_its_head_without_a_gradient():
    codes = torch.tensor([0, 0, 2])
    network = DomainIndependent(make_task()).adapt(Toy(), lambda: codes)
    network.head(torch.ones(3, 2)).sum().backward()
    sizes = [float(head.weight.grad.abs().sum()) for head in network.head.heads]
    assert sizes == [4.0, 0.0, 2.0]


def test_shares_are_one_for_the_own_group_and_even_for_the_unknown():
    found = shares_of(torch.tensor([1, -1]), 4)
    assert found.tolist() == [[0, 1, 0, 0], [0.25, 0.25, 0.25, 0.25]]


@pytest.mark.parametrize(
    "spec",
    [
        BackboneSpec(name="unet", variant="tu-mobilenetv3_small_050", adapt="full"),
        BackboneSpec(name="sam", variant="tiny", adapt="lora"),
        BackboneSpec(name="mobile-sam", adapt="frozen"),
    ],
    ids=lambda spec: spec.name,
)
def test_before_training_every_groups_head_is_the_backbones_own(spec):
    backbone = backbones.build(spec, 3, 64, None).eval()
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, _ = backbone(images)
        network = DomainIndependent(make_task()).adapt(backbone, underway.groups)
        with underway.samples_of(torch.tensor([0, 1, 2, -1])):
            after, _ = network(images)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    # Where the group is known the copy is the head itself, to the bit.
    assert torch.equal(after[:3], before[:3])


def test_the_loss_is_the_recipes():
    batch, output = make_batch([0, 1, 2, -1])
    expected = risk(output.logits.detach().numpy(), batch.masks.numpy())
    assert DomainIndependent(make_task()).loss(batch, output).item() == pytest.approx(expected, abs=1e-6)
