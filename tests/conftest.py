"""What every test shares: no screen, no account, no clock in property tests, GPU tests only on a GPU."""

from __future__ import annotations

import os

import hypothesis
import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("WANDB_MODE", "disabled")

# The same examples on every machine and no time limit an example: a busy machine must not fail a law.
hypothesis.settings.register_profile("medconv", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("medconv")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
