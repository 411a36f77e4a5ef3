"""Worlds that many tests score, made once a worker."""

from __future__ import annotations

import pytest
import worlds


@pytest.fixture(scope="session")
def nnunet(tmp_path_factory) -> worlds.World:
    """An nnU-Net folder that no test changes."""
    return worlds.nnunet(tmp_path_factory.mktemp("nnunet"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> worlds.World:
    """A folder of PNG that no test changes."""
    return worlds.pictures(tmp_path_factory.mktemp("pictures"))
