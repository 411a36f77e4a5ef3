"""Rivals whose source is a formula, against plain numpy on a worked case."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from conftest import make_batch, make_task
from reference import risk, softmax
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance

from methods.cvar_dro import CVaRDRO, worst_mean
from methods.distillation import Distillation, divergence
from methods.erm import ERM
from methods.fis import FIS, group_distances
from methods.jtt import JTT, error_weights
from methods.lisa import LISA, partners_of
from methods.mmd import MMD
from methods.reweighting import Reweighting
from methods.vrex import VREx

GROUPS = np.array([0, 1, 2, 2, -1, 1])


def arrays(batch, output):
    return output.logits.detach().numpy(), batch.masks.numpy(), batch.groups.numpy()


def group_risks(batch, output):
    logits, masks, groups = arrays(batch, output)
    return {g: risk(logits[groups == g], masks[groups == g]) for g in np.unique(groups)}


def test_reweighting_makes_the_groups_of_the_training_set_equal():
    batch, output = make_batch(GROUPS.tolist())
    risks, counts = group_risks(batch, output), {0: 4, 1: 16, 2: 100}
    weights = {g: 120 / (3 * n) for g, n in counts.items()} | {-1: 1.0}
    shares = {g: (g == GROUPS).sum() * weights[g] for g in risks}
    expected = sum(shares[g] * risks[g] for g in risks) / sum(shares.values())
    assert Reweighting(make_task()).loss(batch, output).item() == pytest.approx(expected, abs=1e-6)
    # 10 + 2 * 2.5 + 2 * 0.4 + 1
    assert sum(shares.values()) == pytest.approx(16.8)


def test_reweighting_at_power_0_counts_every_sample_the_same():
    batch, output = make_batch(GROUPS.tolist())
    expected = sum((g == GROUPS).mean() * found for g, found in group_risks(batch, output).items())
    method = Reweighting(make_task(), power=0.0)
    assert method.loss(batch, output).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.4, 0.77, 1.0])
def test_cvar_is_the_worst_case_over_the_distributions_that_it_names(alpha):
    losses = np.random.default_rng(0).random(7)
    worst = linprog(-losses, A_eq=np.ones((1, 7)), b_eq=[1], bounds=[(0, max(1 / (alpha * 7), 1e-9))] * 7)
    if alpha * 7 < 1:  # one sample has all the weight there is
        worst = linprog(-losses, A_eq=np.ones((1, 7)), b_eq=[1], bounds=[(0, 1)] * 7)
    assert worst_mean(torch.tensor(losses), alpha).item() == pytest.approx(-worst.fun, abs=1e-6)


def test_cvar_takes_the_loss_of_each_sample_alone():
    batch, output = make_batch(GROUPS.tolist())
    logits, masks, _ = arrays(batch, output)
    single = sorted((risk(logits[[i]], masks[[i]]) for i in range(6)), reverse=True)
    found = CVaRDRO(make_task(), alpha=0.5).loss(batch, output).item()
    assert found == pytest.approx(np.mean(single[:3]), abs=1e-6)


def test_vrex_adds_the_variance_of_the_groups_losses_once_it_is_on():
    batch, output = make_batch(GROUPS.tolist())
    risks = np.array([found for g, found in group_risks(batch, output).items() if g >= 0])
    method = VREx(make_task(steps=4), penalty=30.0, anneal=0.5)
    found = [method.loss(batch, output).item() for _ in range(4)]
    expected = [risks.mean() + weight * risks.var() for weight in (1, 1, 30, 30)]
    assert found == pytest.approx(expected, abs=1e-6)
    batch, output = make_batch([-1, -1])
    assert method.loss(batch, output) == ERM(make_task()).loss(batch, output)


def test_mmd_is_the_discrepancy_of_each_pair_of_groups():
    batch, output = make_batch(GROUPS.tolist())
    features = output.features.detach().numpy().astype(float)
    squares = ((features[:, None] - features[None]) ** 2).sum(-1)
    pairs = []
    for one, other in itertools.combinations(range(3), 2):
        total = 0.0
        for gamma in (0.001, 0.01, 0.1, 1, 10):
            kernel = np.exp(-gamma * squares)
            a, b = np.flatnonzero(one == GROUPS), np.flatnonzero(other == GROUPS)
            own = kernel[np.ix_(a, a)].mean() + kernel[np.ix_(b, b)].mean()
            total += own - 2 * kernel[np.ix_(a, b)].mean()
        pairs.append(total)
    logits, masks, _ = arrays(batch, output)
    expected = risk(logits, masks) + 0.3 * np.mean(pairs)
    assert MMD(make_task(), weight=0.3).loss(batch, output).item() == pytest.approx(expected, abs=1e-5)


def test_mmd_draws_two_groups_together():
    torch.manual_seed(0)
    batch, output = make_batch([0] * 4 + [1] * 4)
    features = (output.features.detach() + 2 * batch.groups[:, None]).requires_grad_()
    apart = type(output)(output.logits, features, output.losses)
    MMD(make_task(), weight=1.0).loss(batch, apart).backward()
    means = [(features - features.grad).detach()[batch.groups == g].mean(0) for g in (0, 1)]
    before = [features.detach()[batch.groups == g].mean(0) for g in (0, 1)]
    assert (means[0] - means[1]).norm() < (before[0] - before[1]).norm()
    batch, output = make_batch([1, 1, -1])
    assert MMD(make_task()).loss(batch, output) == ERM(make_task()).loss(batch, output)


def test_fis_scales_by_the_formula_of_the_released_scripts():
    batch, output = make_batch(GROUPS.tolist())
    method = FIS(make_task(), coefficient=0.4, temperature=0.02)
    losses = output.losses.detach().numpy().astype(float)
    # Each known group has one or two losses here, so that 64 of its quantiles are its own numbers in between.
    distances = group_distances(output.losses.detach(), batch.groups, 3).numpy().astype(float)
    own = np.where(GROUPS >= 0, distances[GROUPS], 0)

    def soft(values):
        return np.exp(values / 0.02) / np.exp(values / 0.02).sum()

    expected = ((0.6 * soft(losses) + 0.4 * soft(own)) * losses).sum()
    assert method.loss(batch, output).item() == pytest.approx(expected, abs=1e-5)


def test_fis_measures_how_far_a_groups_losses_lie_from_all_in_equal_parts():
    rng = np.random.default_rng(0)
    parts = [rng.random(640), rng.random(64) + 0.5, rng.random(1_280) * 0.1]
    losses = torch.tensor(np.concatenate([*parts, [np.nan, 9.0]]), dtype=torch.float64)
    groups = torch.tensor([0] * 640 + [1] * 64 + [2] * 1_280 + [1, -1])
    found = group_distances(losses, groups, 4).numpy()
    many = np.linspace(0, 1, 2_001)[1:-1]
    equal = np.sort(np.concatenate([np.quantile(part, many) for part in parts]))
    expected = [((np.quantile(part, many) - np.quantile(equal, many)) ** 2).mean() / 2 for part in parts]
    np.testing.assert_allclose(found[:3], expected, rtol=0.03)
    assert found[3] == 0
    # A check of the check: no squared distance is below the square of scipy's first-order one.
    assert (2 * np.array(expected) > [wasserstein_distance(part, equal) ** 2 for part in parts]).all()


def test_jtt_draws_the_hardest_more_often_and_what_was_not_drawn_as_before():
    losses = torch.tensor([0.1, 0.9, torch.nan, 0.5, 0.8, torch.nan, 0.2, 0.3, 0.0, 0.4])
    assert error_weights(losses, 0.3, 7.0).tolist() == [1, 7, 1, 7, 7, 1, 1, 1, 1, 1]
    assert error_weights(torch.full((4,), torch.nan), 0.5, 7.0).tolist() == [1] * 4


def test_jtt_makes_its_error_set_once():
    method = JTT(make_task(), first=2, share=0.1)
    losses = torch.rand(120)
    given = [method.sampling_weights(epoch, losses) for epoch in range(4)]
    assert [one is None for one in given] == [True, False, True, True]
    assert int((given[1] > 1).sum()) == 12


def test_distillation_is_the_divergence_of_the_softened_predictions():
    batch, output = make_batch(GROUPS.tolist())
    teacher = torch.randn(6, 3, 8, 8)
    target = softmax(teacher.numpy().astype(float) / 3)
    found = softmax(output.logits.detach().numpy().astype(float) / 3)
    expected = 9 * (target * np.log(target / found)).sum(1).mean()
    assert divergence(teacher, output.logits, 3.0).item() == pytest.approx(expected, abs=1e-5)
    logits, masks, _ = arrays(batch, output)
    taught = type(output)(output.logits, output.features, output.losses, teacher)
    method = Distillation(make_task(), weight=0.3, temperature=3.0)
    assert method.loss(batch, taught).item() == pytest.approx(
        0.7 * risk(logits, masks) + 0.3 * expected, abs=1e-5
    )


def test_lisa_mixes_with_other_known_groups_alone():
    groups = torch.tensor([0, 0, 1, 2, -1, 2, 1, 0])
    torch.manual_seed(0)
    seen = {row: set() for row in range(8)}
    for _ in range(400):
        for row, partner in enumerate(partners_of(groups).tolist()):
            seen[row].add(partner)
    for row, code in enumerate(groups.tolist()):
        others = {other for other in range(8) if groups[other] not in (code, -1)}
        assert seen[row] == (others if code >= 0 else {row})
    assert partners_of(torch.tensor([1, 1, -1])).tolist() == [0, 1, 2]


def test_lisa_weighs_both_masks_by_the_share_of_the_batch():
    method = LISA(make_task(), chance=1.0)
    batch, output = make_batch([0, 1, -1, 1])
    partners, shares = method.mix(batch.groups, batch.samples)
    share = float(shares[0])
    assert shares.tolist() == [share, share, 1.0, share]
    assert partners.tolist()[2] == 2
    others = batch.masks[partners]
    mixed = type(batch)(batch.images, batch.masks, batch.groups, batch.samples, others, shares)
    logits = output.logits.detach().numpy()
    expected = share * risk(logits, batch.masks.numpy()) + (1 - share) * risk(logits, others.numpy())
    assert method.loss(mixed, output).item() == pytest.approx(expected, abs=1e-6)


def test_lisa_mixes_as_often_as_it_says():
    method = LISA(make_task(), chance=0.3)
    torch.manual_seed(0)
    groups = torch.tensor([0, 1])
    given = [method.mix(groups, groups) is not None for _ in range(1_000)]
    # A thousand draws: within four standard errors.
    assert abs(np.mean(given) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1_000)
