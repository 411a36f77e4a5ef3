"""How long a method's gradient is beside the plain loss's is measured, and under SGD bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from asking import here, told
from conftest import make_batch

from harness import Batch, Output
from harness.plugin import discovery
from harness.training import gradient
from harness.training.side import Answer

SCALER = """
from harness import Card, Method, segmentation_loss


class Scaler(Method):
    card = Card(title="Scaler")

    def loss(self, batch, output):
        return 1_000 * segmentation_loss(output.logits, batch.masks, self.task.dice_weight)
"""


def plain_gradient(batch: Batch, output: Output) -> torch.Tensor:
    return gradient.plain(output.logits, batch, 0.8).gradient


def asked(plugin, groups=(0, 1, 2, -1)) -> tuple[Answer, torch.Tensor]:
    batch, output = make_batch(list(groups))
    answer = here(plugin, told(plugin.name)).answer(batch, output.logits, output.features, 1.0)
    return answer, gradient.ratio(answer, plain_gradient(batch, output))


@pytest.fixture
def scaler(tmp_path):
    file = tmp_path / "scaler.py"
    file.write_text(SCALER)
    return discovery.find(str(file))


def test_the_plain_loss_has_its_own_length():
    assert float(asked(discovery.find("erm"))[1]) == 1


def test_a_loss_times_a_thousand_is_seen_as_that(scaler):
    assert float(asked(scaler)[1]) == pytest.approx(1_000)


def test_a_gradient_at_the_features_counts():
    answer, times = asked(discovery.find("adv"))
    assert float(times) > 1
    louder = replace(answer, features=1_000 * answer.features)
    batch, output = make_batch([0, 1, 2, -1])
    assert float(gradient.ratio(louder, plain_gradient(batch, output))) > 10 * float(times)


def test_no_gradient_has_no_length():
    batch, output = make_batch([0, 1])
    nothing = Answer(torch.tensor(1.0), None, None)
    assert float(gradient.ratio(nothing, plain_gradient(batch, output))) == 0


def test_a_long_gradient_is_shortened_and_others_are_left_to_the_bit(scaler):
    answer, times = asked(scaler)
    short = gradient.shortened(answer, times, 10.0)
    assert torch.allclose(short.logits, answer.logits / 100)
    plain, one = asked(discovery.find("erm"))
    assert torch.equal(gradient.shortened(plain, one, 10.0).logits, plain.logits)
