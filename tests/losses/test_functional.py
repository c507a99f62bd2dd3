from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from medconv.losses.functional import pick_class, sum_by_class


@pytest.mark.parametrize("spatial", [(7,), (4, 5), (3, 4, 5)], ids=str)
def test_both_equal_their_one_hot_definition(spatial: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    values = torch.randn(2, 4, *spatial, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 4, (2, 1, *spatial))
    hot = one_hot(target[:, 0], 4).movedim(-1, 1).double()
    picked = pick_class(values, target)
    assert torch.equal(picked, (values * hot).sum(1, keepdim=True))
    torch.testing.assert_close(sum_by_class(picked, target, 4), (values * hot).flatten(2).sum(2))
    assert torch.autograd.gradcheck(lambda v: sum_by_class(pick_class(v, target), target, 4), (values,))


def test_sums_of_more_voxels_than_float32_can_count_are_exact() -> None:
    # adding 1 to 2²⁴ in float32 gives 2²⁴
    n = 2**24 + 8
    sums = sum_by_class(torch.ones(1, 1, n), torch.zeros(1, 1, n, dtype=torch.long), 1)
    assert sums.item() == n
