import numpy as np
import torch
from conftest import make_task
from toy import Toy

from methods.dmoe import DMoE


def gate(h, router, top):
    """Softmax over the largest `top` scores, 0 elsewhere."""
    scores = router.weight.detach().numpy() @ h + router.bias.detach().numpy()
    kept = np.argsort(-scores)[:top]
    powers = np.zeros_like(scores)
    powers[kept] = np.exp(scores[kept] - scores.max())
    return powers / powers.sum()


def expert(h, network):
    first, _, last = network
    hidden = np.maximum(first.weight.detach().numpy() @ h + first.bias.detach().numpy(), 0)
    return last.weight.detach().numpy() @ hidden + last.bias.detach().numpy()


def test_a_place_gets_what_the_experts_of_its_groups_router_make_of_it():
    codes = torch.tensor([0, 2, -1])
    torch.manual_seed(0)
    network = DMoE(make_task(), experts=5, top=2).adapt(Toy(), lambda: codes).eval()
    h = torch.randn(3, 4, 2, 2)
    seen = []
    network.backbone.decode = lambda maps: (seen.append(maps[0]), (None, None))[1]
    network.decode((h,))
    mixture = network.mixture
    for b, groups in enumerate([[0], [2], [0, 1, 2]]):
        for y in range(2):
            for x in range(2):
                place = h[b, :, y, x].numpy()
                gates = np.mean([gate(place, mixture.routers[g], 2) for g in groups], axis=0)
                made = [expert(place, one) for one in mixture.experts]
                added = sum(share * one for share, one in zip(gates, made, strict=True))
                np.testing.assert_allclose(seen[0][b, :, y, x].detach(), place + added, atol=1e-5)


def test_training_draws_noise_and_predicting_none():
    mixture = DMoE(make_task()).adapt(Toy(), lambda: None).mixture
    h, groups = torch.randn(2, 3, 4), torch.tensor([0, 1])
    mixture.train()
    assert not torch.equal(mixture.gates(h, groups), mixture.gates(h, groups))
    mixture.eval()
    assert torch.equal(mixture.gates(h, groups), mixture.gates(h, groups))
    found = mixture.gates(h, groups)
    assert ((found > 0).sum(-1) == 2).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 3))


def test_who_is_beside_it_in_a_batch_changes_nothing_of_a_sample():
    codes = torch.tensor([0, 1])
    network = DMoE(make_task()).adapt(Toy(), lambda: codes).eval()
    h = torch.randn(2, 4, 3, 3)
    both = network.decode((h,))[0]
    network.groups = lambda: codes[:1]
    torch.testing.assert_close(network.decode((h[:1],))[0], both[:1])
