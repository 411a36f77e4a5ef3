import numpy as np
import torch
from conftest import make_task
from toy import Toy

from methods.fin import FIN


def normalised(z, mu, sigma, momentum):
    """The authors' formula, one sample's channels."""
    return (1 - momentum) * (z - mu) / (np.log(1 + np.exp(sigma)) + 1e-6) + momentum * z


def test_each_sample_is_normalised_by_its_group_and_an_unknown_one_by_the_mean_of_all():
    codes = torch.tensor([0, 2, -1])
    network = FIN(make_task(), momentum=0.3).adapt(Toy(), lambda: codes)
    own, head = network.head
    mu, sigma = (one.detach().numpy().astype(float) for one in (own.mu, own.sigma))
    assert mu.shape == sigma.shape == (3, 4)
    z = np.random.default_rng(0).normal(size=(3, 4, 2, 2))
    expected = np.empty_like(z)
    for b, y, x in np.ndindex(3, 2, 2):
        made = [normalised(z[b, :, y, x], mu[g], sigma[g], 0.3) for g in range(3)]
        expected[b, :, y, x] = (made[0], made[2], np.mean(made, axis=0))[b]
    np.testing.assert_allclose(own(torch.tensor(z).float()).detach(), expected, atol=1e-5)
    assert torch.equal(network.head(torch.tensor(z).float()), head(own(torch.tensor(z).float())))


def test_first_weights_have_the_spread_that_the_script_gives_them():
    task = make_task(groups=tuple("abcdefgh" * 200), group_counts=(1,) * 1600)
    torch.manual_seed(0)
    own = FIN(task, mu=0.01, sigma=1.0).adapt(Toy(), lambda: None).head[0]
    np.testing.assert_allclose([own.mu.std().item(), own.sigma.std().item()], [0.01, 1.0], rtol=0.05)


def test_what_is_let_through_whole_is_the_backbone():
    images = torch.rand(2, 3, 4, 4)
    plain = Toy().eval()
    before = plain.decode(plain.encode(images))[0]
    network = FIN(make_task(), momentum=1.0).adapt(Toy(), lambda: torch.tensor([0, 1])).eval()
    torch.testing.assert_close(network.decode(network.encode(images))[0], before)
