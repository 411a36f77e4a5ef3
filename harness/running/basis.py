"""What a protocol's trials stand on, and all that the id of one is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import backbones, cohorts, identity
from harness.cohorts.cohort import SPLITS, Cohort
from harness.protocol import Protocol
from harness.store import contents

if TYPE_CHECKING:
    from harness.plugin.method import Sampler

# What fits and predicts, beside the method and the network: a trial's id has all that they reach by import.
_TRAINING = identity.HARNESS / "training"


@dataclass(frozen=True)
class Basis:
    """What all trials of a protocol stand on: its cohort by content, the weights, the kind of device.

    images, masks: the digest of each sample, uint8 [N, 16]; weights: SHA-256 of the pretrained weights, ""
    for none; device: "cpu", "cuda" or another of torch's types.
    """

    protocol: Protocol
    cohort: Cohort
    images: np.ndarray
    masks: np.ndarray
    weights: str
    device: str

    @classmethod
    def of(cls, protocol: Protocol, cohort: Cohort, cache: Path, weights: str, device: str) -> Basis:
        """Return the basis of a cohort that was read; its digests are kept under `cache`."""
        images, masks = (contents.digests(array, cache) for array in (cohort.images, cohort.masks))
        return cls(protocol, cohort, images, masks, weights, device)

    def of_fold(self, seed: int, fold: int) -> Basis:
        """Return what the trial of a seed stands on that tests this fold; itself where there are no folds."""
        if self.protocol.split.folds == 1:
            return self
        if (seed, fold) not in self._folds:
            split = self.protocol.split.model_copy(update={"fold": (seed, fold)})
            protocol = self.protocol.model_copy(update={"split": split})
            own = replace(self, protocol=protocol, cohort=cohorts.of_fold(self.cohort, protocol))
            self._folds[seed, fold] = own
        return self._folds[seed, fold]

    @cached_property
    def _folds(self) -> dict[tuple[int, int], Basis]:
        return {}

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        """What training and prediction read of the cohort: name to the digests of its samples, in order."""
        rows = {split: self.cohort.rows(split) for split in SPLITS}
        return {
            "train images": self.images[rows["train"]],
            "train masks": self.masks[rows["train"]],
            "validation images": self.images[rows["validation"]],
            "validation masks": self.masks[rows["validation"]],
            "test images": self.images[rows["test"]],
        }

    @cached_property
    def scored(self) -> dict[str, Any]:
        """What scores depend on beside masks and structures; see `scored_as`."""
        return scored_as(self.protocol, self.cohort)

    def attribute(self, name: str) -> dict[str, Any]:
        """Return what a trial's id has of an attribute that it reads, worked out once for all of them."""
        if name not in self._attributes:
            self._attributes[name] = _attribute_identity(self.cohort, name)
        return dict(self._attributes[name])

    @cached_property
    def _attributes(self) -> dict[str, dict[str, Any]]:
        return {}

    @cached_property
    def data(self) -> dict[str, str]:
        """`parts`, each as one digest."""
        return {name: identity.data_digest(digests) for name, digests in self.parts.items()}


def code_identity(protocol: Protocol, method: Path | None) -> dict[str, Any]:
    """Return what a trial's id has of code: `code`, file to meaning, and `libraries`, package to version.

    `method` is the method's file; of it only what it imports from the harness is here, since its own source
    stands beside its name. None where it is not at hand.
    """
    files = identity.reached(_entries(protocol), method)
    return {"code": identity.code(files), "libraries": identity.libraries(files)}


def _entries(protocol: Protocol) -> list[Path]:
    """Return the files at which fitting and predicting under a protocol begin."""
    entries = [_TRAINING / "train.py", backbones.file_of(protocol.backbone)]
    if protocol.backbone.adapt == "frozen":
        entries.append(_TRAINING / "encode.py")
    if protocol.recipe.selection == "best-validation":
        entries.append(_TRAINING / "validate.py")
    return entries


def identity_of(
    basis: Basis,
    protocol: Protocol,
    method: Mapping[str, Any],
    attribute: str | None,
    seed: int,
    starts_from: str | None,
    control: tuple[Sampler | None, bool] = (None, False),
    at_test: bool = False,
) -> dict[str, Any]:
    """Return what a trial's id has of data and values; `code_identity` is the rest.

    method: `name`, `source` (its digest) and `hyper_parameters`; attribute: None where it is not read;
    starts_from: id of the trial whose weights it begins with, which are not there yet when it is planned;
    control: sampler instead of the method's own, and whether groups are shuffled; at_test: whether
    predictions read the attribute. `protocol` is the basis's, but for the rule for the checkpoint.
    """
    validated = protocol.recipe.selection == "best-validation"
    data = {name: one for name, one in basis.data.items() if validated or not name.startswith("validation")}
    made: dict[str, Any] = {
        "scheme": identity.SCHEME,
        "data": data,
        "attribute": None if attribute is None else basis.attribute(attribute),
        "starts_from": starts_from,
        "method": dict(method),
        "backbone": _backbone(protocol) | {"weights": basis.weights},
        "recipe": _recipe(protocol, finetunes=starts_from is not None),
        "classes": protocol.n_classes,
        "size": protocol.cohort.size,
        "seed": seed,
        "device": basis.device,
    }
    if at_test and attribute is not None:
        # Whose group is which decides what is predicted, also of those who choose a checkpoint.
        made["attribute"] |= _read_at_test(basis.cohort, attribute, validated)
    if validated:
        made["validated"] = [protocol.classes(name) for name in protocol.structures]
    if basis.scored:
        # A record holds the scores of its trial, and two boards that score otherwise would share it.
        made["scored"] = dict(basis.scored)
    sampler, shuffled = control
    if sampler is not None or shuffled:
        made["control"] = {"sampler": sampler, "shuffled": shuffled}
    if shuffled:
        patients = basis.cohort.subjects["patient"].to_numpy()[basis.cohort.rows("train")]
        made["data"]["patients"] = identity.data_digest(patients.astype(str).tolist())
    return made


def scored_as(protocol: Protocol, cohort: Cohort) -> dict[str, Any]:
    """Return what scores depend on beside masks and structures, where it is not as it was at first."""
    told: dict[str, Any] = {}
    rows = cohort.rows("test")
    if protocol.scoring.unit == "patient":
        patients = cohort.subjects["patient"].to_numpy()[rows]
        told["patients"] = identity.data_digest(patients.astype(str).tolist())
    if protocol.scoring.tolerance != type(protocol.scoring)().tolerance:
        told["tolerance"] = protocol.scoring.tolerance
    if cohort.spacing is not None and cohort.places is not None:
        told["places"] = identity.data_digest([cohort.places.iloc[rows].to_csv(index=False)])
    return told


def _backbone(protocol: Protocol) -> dict[str, Any]:
    """Return what is hashed of the backbone: the rank only where there are adapters to have one."""
    spec = protocol.backbone
    return spec.model_dump(exclude=None if spec.adapt == "lora" else {"rank"})


def _recipe(protocol: Protocol, finetunes: bool) -> dict[str, Any]:
    """Return what is hashed of the recipe: the fine-tuning part only for who fine-tunes."""
    return protocol.recipe.model_dump(exclude=None if finetunes else {"finetune"})


def _read_at_test(cohort: Cohort, attribute: str, validated: bool) -> dict[str, Any]:
    codes, splits = cohort.codes(attribute), ("test", "validation") if validated else ("test",)
    return {f"{split} codes": identity.data_digest(codes[cohort.rows(split)]) for split in splits}


def _attribute_identity(cohort: Cohort, attribute: str) -> dict[str, Any]:
    codes = cohort.codes(attribute)[cohort.rows("train")]
    return {"name": attribute, "groups": cohort.groups[attribute], "codes": identity.data_digest(codes)}
