"""Copies block by block hold what NumPy's hold."""

from __future__ import annotations

import numpy as np
import pytest

from medconv.io.blockwise import contiguous


@pytest.mark.parametrize(
    "shape", [(1, 33, 40, 65), (2, 64, 32, 32), (1, 70, 1, 900), (1, 2, 3, 4), (0, 40, 40, 40)]
)
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_every_order_and_turn_gives_numpys_copy(shape, kind):
    voxels = np.arange(np.prod(shape)).astype(kind).reshape(shape)
    for axes in ((0, 1, 2, 3), (0, 3, 2, 1), (0, 2, 1, 3), (0, 3, 1, 2)):
        for step in (1, -1):
            for stored in (voxels, np.asfortranarray(voxels)):
                view = stored.transpose(axes)[:, ::step, :, ::-step]
                copy = contiguous(view)
                assert copy.flags.c_contiguous
                assert copy.dtype == kind
                np.testing.assert_array_equal(copy, view)


def test_what_lies_right_is_not_copied():
    voxels = np.zeros((1, 40, 40, 40), np.float32)
    assert contiguous(voxels) is voxels
