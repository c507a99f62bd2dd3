from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medconv.models.topology import plan_topology
from medconv.planning import StagePlan, plan_stages


@pytest.mark.parametrize(
    ("patch", "spacing", "halvings"),
    [
        ((36, 50, 35), (1, 1, 1), (3, 3, 3)),
        ((64, 64, 1), (1, 1, 1), (4, 4, 0)),
        ((7, 7, 7), (1, 1, 1), (0, 0, 0)),
        # alone an axis needs 12 voxels: 12 → 6, but 11 stays
        ((12, 7, 7), (1, 1, 1), (1, 0, 0)),
        ((11, 7, 7), (1, 1, 1), (0, 0, 0)),
        # exactly twice as coarse waits one halving
        ((64, 64, 64), (1, 1, 2), (4, 4, 3)),
        ((64, 64, 64), (1, 1, 1.99), (4, 4, 4)),
        ((320, 320, 24), (0.7, 0.7, 4.0), (6, 6, 2)),
        ((256, 256), (1, 1), (6, 6)),
    ],
)
def test_an_axis_is_halved_while_it_is_large_and_fine_enough(
    patch: tuple[int, ...], spacing: tuple[float, ...], halvings: tuple[int, ...]
) -> None:
    assert plan_stages(patch, spacing).divisor == tuple(2**n for n in halvings)


def test_an_axis_that_is_twice_as_coarse_is_halved_later_and_gets_its_kernel_later() -> None:
    stages = plan_stages((64, 64, 64), (1, 1, 2))
    assert stages.strides[:3] == ((1, 1, 1), (2, 2, 1), (2, 2, 2))
    assert stages.kernel_sizes[:3] == ((3, 3, 1), (3, 3, 3), (3, 3, 3))


def test_what_cannot_be_halved_still_has_two_stages_and_an_honest_bottleneck() -> None:
    assert plan_stages((5, 6, 7), (1, 1, 1)) == StagePlan(((1, 1, 1),) * 2, ((3, 3, 3),) * 2)


@given(
    patch=st.tuples(*[st.integers(1, 300)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
)
def test_the_laws_of_every_pyramid(patch: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    stages = plan_stages(patch, spacing)
    assert len(stages.strides) == len(stages.kernel_sizes) == len(stages.channels) == len(stages) >= 2
    assert stages.strides[0] == (1, 1, 1)
    assert stages.kernel_sizes[-1] == (3, 3, 3)
    for size, divisor in zip(patch, stages.divisor, strict=True):
        assert divisor == 1 or math.ceil(size / divisor) >= 4
    for above, below in zip(stages.kernel_sizes, stages.kernel_sizes[1:], strict=False):
        assert all(a <= b for a, b in zip(above, below, strict=True))
    assert max(stages.channels) <= 320


@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 1, 1), (0.7, 0.7, 5.0), (1.0, 1.9, 4.2)])
def test_where_size_does_not_bind_it_is_the_rule_of_the_network_itself(spacing: tuple[float, ...]) -> None:
    planned = plan_stages((512, 512, 512), spacing)
    own = plan_topology(3, 5, spacing)
    assert planned.strides[:5] == own.strides
    assert planned.kernel_sizes[:5] == own.kernel_sizes
