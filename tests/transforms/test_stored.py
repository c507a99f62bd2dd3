"""Rounding on the device gives the bits that NumPy gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medconv.transforms.stored import as_stored


def test_every_half_and_what_lies_between_is_rounded_as_numpy_rounds() -> None:
    # all positive finite halves, the points half-way between neighbours, and the floats on either side of those
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[1:] + halves[:-1]) / 2
    values = np.concatenate(
        [halves, between, np.nextafter(between, np.float32(0)), np.nextafter(between, np.float32(1e9))]
    )
    values = np.concatenate([values, -values])
    stored = as_stored(torch.from_numpy(values), np.float16)
    np.testing.assert_array_equal(stored.view(np.uint16), values.astype(np.float16).view(np.uint16))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_type_is_that_of_the_array_that_takes_them(dtype: type[np.floating]) -> None:
    values = torch.rand(2, 3, 4).sigmoid()
    stored = as_stored(values, dtype)
    assert stored.dtype == dtype
    assert stored.shape == (2, 3, 4)
    np.testing.assert_array_equal(stored, values.numpy().astype(dtype))


@pytest.mark.gpu
def test_a_gpu_rounds_to_the_same_bits() -> None:
    values = torch.rand(1 << 20, dtype=torch.float32).pow(8)
    np.testing.assert_array_equal(
        as_stored(values.cuda(), np.float16).view(np.uint16), as_stored(values, np.float16).view(np.uint16)
    )
