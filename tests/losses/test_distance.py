from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from medconv.losses.distance import distance_mm, signed_distance_mm


@pytest.mark.parametrize(
    ("shape", "spacing"), [((9, 13), (0.7, 2.0)), ((7, 9, 5), (1.0, 0.5, 3.0))], ids=["2-D", "3-D"]
)
@pytest.mark.parametrize("limit", [2.5, 100.0])
def test_it_equals_scipy_up_to_the_limit(shape, spacing, limit, rng):
    mask = rng.random((2, 3, *shape)) < 0.06
    ours = distance_mm(torch.from_numpy(mask), spacing, limit).numpy()
    for b, k in np.ndindex(2, 3):
        reference = distance_transform_edt(~mask[b, k], sampling=spacing)
        np.testing.assert_allclose(ours[b, k], np.minimum(reference, limit), rtol=1e-5)


def test_signed_distance_equals_scipy_and_is_0_without_a_boundary(rng):
    mask = rng.random((1, 3, 8, 9)) < 0.4
    mask[:, 1], mask[:, 2] = False, True
    ours = signed_distance_mm(torch.from_numpy(mask), (1.5, 1.0), 50.0).numpy()[0]
    inside, outside = (distance_transform_edt(m, sampling=(1.5, 1.0)) for m in (mask[0, 0], ~mask[0, 0]))
    np.testing.assert_allclose(ours[0], outside - inside, rtol=1e-5, atol=1e-5)
    assert not ours[1:].any()
