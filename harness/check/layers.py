"""Check the layers of a method's own: what goes through them has the right form whoever's group is known."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.backbones.backbone import Backbone
from harness.check import bench
from harness.errors import TrialError
from harness.plugin.losses import segmentation_loss
from harness.plugin.method import Method
from harness.training import underway
from harness.training.side import Assignment, Here

_GROUPS = ([0, 1, 2, -1], [1, 1, 1, 1], [-1, -1, -1, -1])

_CLOSE = 1e-4


def examine(method: Method, backbone: Backbone, images: Tensor) -> str:
    """Return how many weights the method adds, once four images have gone through its network.

    images: float32 [4, 3, S, S]. Raises TrialError, one sentence, for what no training could use.
    """
    recipe = bench.PROTOCOL.recipe
    told = Assignment("it", {}, method.task, recipe, recipe.learning_rate, bench.SEED, torch.device("cpu"))
    before = {id(weight) for weight in backbone.parameters()}
    network = Here(method, told).adapt(backbone)
    for groups in _GROUPS:
        _check_form(
            network.eval(),
            images,
            groups if method.reads_attribute else [-1] * 4,
            method.task.n_features,
        )
    _check_gradients(network.train(), images, method.reads_attribute)
    own = [weight for weight in network.parameters() if id(weight) not in before]
    return f"{sum(weight.numel() for weight in own):,} weights of its own"


def _run(network: Backbone, images: Tensor, groups: list[int]) -> tuple[Tensor, Tensor]:
    with underway.samples_of(torch.tensor(groups)):
        return network.decode(network.encode(images))


@torch.no_grad()
def _check_form(network: Backbone, images: Tensor, groups: list[int], width: int) -> None:
    """Raise TrialError for logits or features of another form, and for a prediction that needs its batch."""
    logits, features = _run(network, images, groups)
    due = (len(images), bench.PROTOCOL.n_classes)
    if logits.ndim != 4 or logits.shape[:2] != due or features.shape != (len(images), width):
        raise TrialError(
            f"of four images its network makes logits {tuple(logits.shape)} and features "
            f"{tuple(features.shape)}; return them as the backbone's decode does."
        )
    if not bool(logits.isfinite().all() and features.isfinite().all()):
        raise TrialError(f"its network makes numbers that are not finite under the groups {groups}.")
    alone = torch.cat([_run(network, images[i : i + 1], groups[i : i + 1])[0] for i in range(len(images))])
    if not torch.allclose(alone, logits, atol=_CLOSE * float(logits.abs().max() + 1)):
        raise TrialError("a prediction depends on who else is in its batch; keep samples apart in eval().")


def _check_gradients(network: Backbone, images: Tensor, reads: bool) -> None:
    """Raise TrialError where no gradient reaches a weight, with every group in the batch."""
    logits, _ = _run(network, images, _GROUPS[0] if reads else [-1] * 4)
    masks = torch.randint(0, logits.shape[1], (len(images), *logits.shape[2:]))
    segmentation_loss(logits, masks, bench.PROTOCOL.recipe.dice_weight).backward()
    idle = [
        name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None
    ]
    if idle:
        raise TrialError(f"no gradient reaches '{idle[0]}' of its network; use it, or leave it out.")
