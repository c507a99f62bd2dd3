from __future__ import annotations

import numpy as np
import pytest

from medconv.metrics import grid


@pytest.mark.parametrize("few", [0, 1 << 18], ids=["slice by slice", "at once"])
@pytest.mark.parametrize("shape", [(7,), (5, 8), (4, 6, 5)], ids=str)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_the_box_is_the_smallest_that_holds_everything(
    few: int, shape: tuple[int, ...], dtype: type, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(grid, "_FEW_VOXELS", few)
    for share in (0.01, 0.05, 0.2, 1.0):
        pred, ref = (rng.random((2, *shape)) < share).astype(dtype)
        places = np.argwhere((pred != 0) | (ref != 0))
        box = grid.foreground_box(pred, ref)
        if len(places):
            assert box == tuple(
                slice(low, high + 1) for low, high in zip(places.min(0), places.max(0), strict=True)
            )
        else:
            assert pred[box].size == 0
    assert np.zeros(shape, dtype)[grid.foreground_box(*np.zeros((2, *shape), dtype))].size == 0


def test_maps_of_two_orders_become_one_order() -> None:
    first = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for pred, ref, turned in (
        (first, first, False),
        (np.asfortranarray(first), first, False),
        (np.asfortranarray(first), np.asfortranarray(first), True),
    ):
        p, r, spacing_mm = grid.along_memory(pred, ref, (1.0, 2.0, 3.0))
        assert p.flags.c_contiguous
        assert r.flags.c_contiguous
        assert spacing_mm == ((3.0, 2.0, 1.0) if turned else (1.0, 2.0, 3.0))
        np.testing.assert_array_equal(p, first.T if turned else first)
        np.testing.assert_array_equal(r, first.T if turned else first)
