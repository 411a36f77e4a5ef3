"""A part of a network that a method has touched, in whatever way, is called and never stood for."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from harness.backbones.plain import is_plain

WAYS = {
    "a hook": lambda one: one.register_forward_hook(lambda *_: None),
    "a hook before": lambda one: one.register_forward_pre_hook(lambda *_: None),
    "a hook on the way back": lambda one: one.register_full_backward_hook(lambda *_: None),
    "a hook before the way back": lambda one: one.register_full_backward_pre_hook(lambda *_: None),
    "a forward of its own": lambda one: setattr(one, "forward", lambda x: 2 * x),
    "a weight that is made of others": parametrizations.weight_norm,
}


@pytest.mark.parametrize("touch", WAYS.values(), ids=WAYS)
def test_what_is_touched_is_not_plain(touch):
    one = nn.Linear(3, 3)
    assert is_plain(one, (nn.Linear,))
    touch(one)
    assert not is_plain(one, (nn.Linear,))


def test_neither_is_what_inherits_or_is_not_known():
    class Own(nn.Linear):
        """A layer of a method's."""

    assert not is_plain(Own(3, 3), (nn.Linear,))
    assert not is_plain(nn.Linear(3, 3), (nn.GELU, nn.LayerNorm))
    assert is_plain(nn.Linear(3, 3).to(torch.float64).eval(), (nn.GELU, nn.Linear))
