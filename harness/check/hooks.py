"""Look for what the harness never calls or reads: a hook or a class attribute under a wrong name."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

from harness import identity
from harness.errors import did_you_mean
from harness.plugin.discovery import Plugin
from harness.plugin.method import Method

HOOKS = {
    "loss": "compute_loss get_loss training_step train_step step criterion objective forward losses "
    "calculate_loss loss_fn loss_function training_loss",
    "parameter_groups": "param_groups get_parameter_groups configure_optimizers optimizer_groups "
    "parameters_groups trainable_parameters get_parameters optimizer make_optimizer",
    "on_epoch_end": "after_epoch epoch_end end_epoch on_epoch end_of_epoch on_train_epoch_end epoch_finished "
    "training_epoch_end post_epoch on_epoch_finished after_each_epoch epoch update_epoch on_end_epoch",
    "sampling_weights": "sample_weights sampler_weights get_sampling_weights sampling_probabilities weights "
    "sample_probabilities update_weights reweight weigh_samples sampling",
    "adapt": "adapt_backbone adapt_model wrap wrap_backbone modify_backbone add_layers build_model "
    "make_model build_network make_network prepare_model heads own_layers",
    "calibrate": "calibration fit_thresholds thresholds post_process postprocess postprocessing finalize "
    "after_fit on_training_end fit_calibration",
    "mix": "mixup mix_up mix_batch mixing get_mix cutmix augment augmentation transform_batch",
}
"""What the harness calls, and how it is called elsewhere."""

_NO_SUCH_HOOK = {
    "on_epoch_start on_epoch_begin before_epoch epoch_start epoch_begin on_train_epoch_start start_epoch": (
        "There is no hook before an epoch: `on_epoch_end` is called after each, and __init__ before the first"
    ),
    "on_step_end after_step on_batch_end after_batch on_train_batch_end post_step step_end "
    "on_step_start on_batch_start before_batch before_step on_train_batch_start": (
        "There is no hook around a step: `loss` is called once a step"
    ),
    "on_train_start on_train_end on_fit_start on_fit_end setup teardown before_training after_training": (
        "There is no hook around the training: __init__ is called before it, `on_epoch_end` after each epoch "
        "(`calibrate` after the last, where `trains_own_model`)"
    ),
}


def problem(method: type[Method], plugin: Plugin) -> str:
    """Return what is wrong with the names of a method's class, "" where the harness knows them all.

    A name that the plugin itself uses is the plugin's own affair.
    """
    used = _used(plugin)
    for name, value in _own(method):
        # Torch calls or reads what `Module` has, but for `forward`, which is called by who calls the module.
        if name in used or (name in vars(nn.Module) and name != "forward"):
            continue
        said = _uncalled(name, method) if callable(value) or _is_wrapped(value) else _unread(name, method)
        if said:
            return said
    return _set_on_instance(plugin, method)


def _own(method: type[Method]) -> Iterator[tuple[str, Any]]:
    """Yield the public names of a class, and of what it inherits from beside `Method`, that are no hooks."""
    known = vars(Method).keys() | Method.__annotations__.keys()
    for cls in method.__mro__:
        if cls in Method.__mro__:
            continue
        names = dict.fromkeys(inspect.get_annotations(cls)) | vars(cls)
        yield from ((n, v) for n, v in names.items() if not n.startswith("_") and n not in known)


def _is_wrapped(value: Any) -> bool:
    return isinstance(value, staticmethod | classmethod)


def _uncalled(name: str, method: type[Method]) -> str:
    for hook, others in HOOKS.items():
        if name in others.split():
            return f"`{name}` is called by nobody. Did you mean `{hook}`?"
    for others, said in _NO_SUCH_HOOK.items():
        if name in others.split():
            return f"`{name}` is called by nobody. {said}."
    near = did_you_mean(name, HOOKS)
    hint = near.replace("'", "`") if near.startswith(" Did you mean") else ""
    return (
        f"`{name}` is called by nobody: the harness calls {', '.join(HOOKS)}, and this file calls it nowhere."
        f"{hint} Take it out, or begin a helper's name with an underscore."
    )


def _unread(name: str, method: type[Method]) -> str:
    known = sorted(Method.__annotations__)
    near = did_you_mean(name, known)
    hint = near if near.startswith(" Did you mean") else ""
    return (
        f"{method.__name__}.{name} is read by nobody: the harness reads {', '.join(known)}.{hint} "
        "Take it out, or begin a name of your own with an underscore."
    )


def _used(plugin: Plugin) -> set[str]:
    """Return every name that the plugin's files look up, as an attribute or in a text."""
    found = set()
    for path in identity.method_files(plugin.file):
        for node in ast.walk(identity.parse(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.add(node.id)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self":
                found.add("forward")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                found.add(node.value)
    return found


def _set_on_instance(plugin: Plugin, method: type[Method]) -> str:
    """Return a sentence where an instance sets what the harness reads from the class."""
    for node in ast.walk(identity.parse(plugin.file)):
        if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)):
            continue
        if ast.unparse(node.value) == "self" and node.attr in Method.__annotations__:
            return (
                f"{plugin.file.name}:{node.lineno} sets self.{node.attr}, which the harness reads from the "
                f"class: write `{node.attr} = ...` in the body of {method.__name__}."
            )
    return ""
