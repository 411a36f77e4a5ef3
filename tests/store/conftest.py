"""One trial that is run once for all tests of the store."""

from __future__ import annotations

import functools

import pytest
import torch
from ran import Ran, run_in

from harness import backbones
from harness.protocol import BackboneSpec
from harness.training import embed


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> Ran:
    return run_in(tmp_path_factory.mktemp("ran"))


@functools.cache
def encoder_of(size: int):
    torch.manual_seed(0)
    return backbones.build(BackboneSpec(name="sam", variant="tiny", adapt="frozen"), 3, size, None).eval()


@pytest.fixture(autouse=True)
def same_encoder(monkeypatch):
    """The tiny encoder has no checkpoint: its initial weights stand in for one."""
    monkeypatch.setattr(embed, "_encoder", lambda protocol, _: encoder_of(protocol.cohort.size))
