from __future__ import annotations

import itertools
from copy import deepcopy

import pytest

from medconv.errors import ConfigError
from medconv.models import plan_topology


def nnunet(spacing: tuple[float, ...], stages: int) -> tuple[list[list[int]], list[list[int]]]:
    """nnU-Net's published loop, without its limits on map sizes and its last kernel."""
    dim, current = len(spacing), list(spacing)
    strides, kernels, kernel = [[1] * dim], [], [1] * dim
    while True:
        for d in range(dim):
            if kernel[d] != 3 and current[d] / min(current) < 2:
                kernel[d] = 3
        kernels.append(deepcopy(kernel))
        if len(kernels) == stages:
            return strides, kernels
        finest = min(current)
        pooled = [i for i in range(dim) if current[i] / finest < 2]
        strides.append([2 if i in pooled else 1 for i in range(dim)])
        for i in pooled:
            current[i] *= 2


@pytest.mark.parametrize("dims", [2, 3])
def test_the_rule_is_nnunets(dims: int) -> None:
    for spacing in itertools.product((0.4, 0.7, 1.0, 1.9, 2.5, 5.0), repeat=dims):
        for stages in (2, 4, 6):
            topology = plan_topology(dims, stages, spacing)
            strides, kernels = nnunet(spacing, stages)
            assert [list(s) for s in topology.strides] == strides
            assert [list(k) for k in topology.kernel_sizes] == kernels


def test_isotropic_voxels_are_halved_everywhere() -> None:
    for spacing in (None, (1.0, 1.0, 1.0), (0.3, 0.3, 0.3)):
        topology = plan_topology(3, 4, spacing)
        assert topology.strides == ((1, 1, 1), *[(2, 2, 2)] * 3)
        assert set(topology.kernel_sizes) == {(3, 3, 3)}
        assert topology.divisor == (8, 8, 8)


def test_exactly_twice_the_finest_spacing_is_far_also_after_rounding() -> None:
    for thick in (2.0, 1.9999998, 2.0000002):
        topology = plan_topology(3, 2, (thick, 1.0, 1.0))
        assert topology.strides[1] == (1, 2, 2)
        assert topology.kernel_sizes == ((1, 3, 3), (3, 3, 3))


def test_spacings_follow_the_strides() -> None:
    topology = plan_topology(3, 3, (5.0, 1.0, 1.0), strides=[1, (1, 2, 2), (1, 4, 2)])
    assert topology.spacings_mm == ((5.0, 1.0, 1.0), (5.0, 2.0, 2.0), (5.0, 8.0, 4.0))
    assert topology.divisor == (1, 8, 4)
    assert topology.kernel_sizes == ((1, 3, 3), (1, 3, 3), (3, 3, 3))


def test_a_kernel_that_has_become_three_stays_three() -> None:
    topology = plan_topology(2, 3, (1.0, 1.5), strides=[1, (1, 4), 1])
    assert topology.kernel_sizes == ((3, 3), (3, 3), (3, 3))


def test_given_kernels_replace_the_rule() -> None:
    topology = plan_topology(2, 2, (5.0, 1.0), kernel_sizes=[5, (1, 7)])
    assert topology.kernel_sizes == ((5, 5), (1, 7))
    assert topology.strides == ((1, 1), (1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": 1}, "expected 2 to 10 stages"),
        ({"stages": 11}, "expected 2 to 10 stages"),
        ({"spacing_mm": (1.0, -1.0)}, "expected positive spacing_mm"),
        ({"spacing_mm": (1.0, float("nan"))}, "expected positive spacing_mm"),
        ({"spacing_mm": (1.0, float("inf"))}, "expected positive spacing_mm"),
        ({"spacing_mm": (1.0, 1.0, 1.0)}, "expected spacing_mm with 2 entries"),
        ({"strides": [1, 2]}, "expected strides with one entry a stage, 3, got 2"),
        ({"strides": [2, 2, 2]}, "expected stride 1 at the first stage"),
        ({"strides": [1, 9, 2]}, "expected strides from 1 to 8"),
        ({"kernel_sizes": [3, 3, 16]}, "expected kernel_sizes from 1 to 15"),
        ({"kernel_sizes": [3, 3, (3, 3, 3)]}, r"expected kernel_sizes\[2\] with 2 entries"),
        ({"spatial_dims": 4}, "expected spatial_dims 2 or 3"),
    ],
)
def test_impossible_topologies_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_topology(**({"spatial_dims": 2, "stages": 3} | options))  # type: ignore[arg-type]
