"""Whether a part of a network is as its library made it, so that what stands for it computes the same."""

from __future__ import annotations

from torch import nn


def is_plain(module: nn.Module, known: tuple[type[nn.Module], ...]) -> bool:
    """Tell whether a module is of one of the classes known, has its forward, and nobody listens to it.

    A method may have put in another, or a forward of its own.
    """
    heard = module._forward_hooks or module._forward_pre_hooks
    heard = heard or module._backward_hooks or module._backward_pre_hooks
    return type(module) in known and "forward" not in vars(module) and not heard
