"""Many arrays, one copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gpu_waiting import no_waiting

from medconv.transforms.transfer import move_together

ARRAYS = {
    "indices": np.array([2, 5, 7]),
    ("strength", 1): np.full((1, 2, 2), 1 / 3, np.float32),
    "odd": np.linspace(0, 1, 5, dtype=np.float32),
    "none": np.zeros((0, 3), np.float32),
    "strided": np.arange(12).reshape(3, 4).T,
}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_one_buffer_carries_every_array_unharmed(device):
    moved = move_together(ARRAYS, torch.device(device))
    assert list(moved) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(moved[name].cpu().numpy(), array)
        assert moved[name].device.type == device
    assert len({tensor.untyped_storage().data_ptr() for tensor in moved.values() if tensor.numel()}) == 1


def test_nothing_is_moved_for_nothing():
    assert move_together({}, torch.device("cpu")) == {}


@pytest.mark.gpu
def test_the_copy_does_not_wait_for_the_device():
    with no_waiting():
        move_together(ARRAYS, torch.device("cuda"))
