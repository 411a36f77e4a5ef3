"""One trial that is run once for all tests of the store."""

from __future__ import annotations

import pytest
import torch
from ran import Ran, run_in

from harness import backbones
from harness.training import embed


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> Ran:
    return run_in(tmp_path_factory.mktemp("ran"))


@pytest.fixture(autouse=True)
def same_encoder(monkeypatch):
    """The tiny encoder has no checkpoint: its initial weights stand in for one."""

    def encoder(protocol, _):
        torch.manual_seed(0)
        return backbones.build(protocol.backbone, protocol.n_classes, protocol.cohort.size, None).eval()

    monkeypatch.setattr(embed, "_encoder", encoder)
