"""A tiny backbone in a folder, and loaded."""

from pathlib import Path

import pytest
import torch

from lib.inference.rewards.heads.features import Backbone, load_backbone
from lib.modeling.smoke import smoke_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return smoke_model(tmp_path_factory.mktemp("model") / "smoke")


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(folder, torch.float32)
