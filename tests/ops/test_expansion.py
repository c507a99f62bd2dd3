from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medconv.ops import full_group, orbit_basis
from medconv.ops.expansion import expand_orbits


@pytest.mark.parametrize(("dims", "kernel"), [(2, 5), (3, 3)])
def test_gradient_is_that_of_indexing(dims: int, kernel: int) -> None:
    orbit = orbit_basis((kernel,) * dims, full_group(dims)).tap_orbit
    members = F.one_hot(orbit).double()
    values = torch.randn(3, 2, members.shape[1], dtype=torch.float64, requires_grad=True)
    got, expected = expand_orbits(values, orbit, members), values.index_select(-1, orbit)
    assert torch.equal(got, expected)
    g = torch.randn_like(got)
    (mine,), (autograd,) = (torch.autograd.grad(y, values, g) for y in (got, expected))
    torch.testing.assert_close(mine, autograd, atol=1e-13, rtol=0)
    with torch.no_grad():
        assert torch.equal(expand_orbits(values, orbit, members), expected)
    assert torch.autograd.gradgradcheck(lambda v: expand_orbits(v, orbit, members).square(), values)
