from __future__ import annotations

import pytest
import torch

from medconv.ops import act, admissible, full_group, named_group, orbit_basis, ring_basis

# free numbers a kernel has under each group; counted by hand for k = 3, by Burnside's lemma beyond
TABLE_2D = {
    3: {"C1": 9, "C2": 5, "C4": 3, "D4": 3},
    5: {"C1": 25, "C2": 13, "C4": 7, "D4": 6},
    7: {"C1": 49, "C2": 25, "C4": 13, "D4": 10},
}
TABLE_3D = {
    3: {"C1": 27, "O": 4, "Oh": 4, "D4h": 6, "D4": 6, "C4v": 9, "C4h": 6, "C4": 9, "D2h": 8},
    5: {"C1": 125, "O": 10, "Oh": 10, "D4h": 18, "D4": 20, "C4v": 30, "C4h": 21, "C4": 35, "D2h": 27},
    7: {"C1": 343, "O": 21, "Oh": 20, "D4h": 40, "D4": 49, "C4v": 70, "C4h": 52, "C4": 91, "D2h": 64},
}
FLAT_3D = {
    (1, 3, 3): {"D4h": 3, "D4": 3, "C4v": 3, "C4h": 3, "C4": 3},
    (3, 5, 5): {"D4h": 12, "D4": 13, "C4v": 18, "C4h": 14, "C4": 21},
    (3, 7, 7): {"D4h": 20, "D4": 23, "C4v": 30, "C4h": 26, "C4": 39},
}
CASES = (
    [((k,) * 2, name, count) for k, row in TABLE_2D.items() for name, count in row.items()]
    + [((k,) * 3, name, count) for k, row in TABLE_3D.items() for name, count in row.items()]
    + [(kernel, name, count) for kernel, row in FLAT_3D.items() for name, count in row.items()]
)


@pytest.mark.parametrize(("kernel", "name", "count"), CASES)
def test_orbit_basis_has_as_many_kernels_as_the_group_leaves_free(
    kernel: tuple[int, ...], name: str, count: int
) -> None:
    basis = orbit_basis(kernel, named_group(name, len(kernel)))
    assert len(basis) == count
    assert int(basis.orbit_size.sum()) == torch.Size(kernel).numel()


@pytest.mark.parametrize(
    ("kernel", "name", "axis"),
    [((3, 3), "D4", 0), ((4, 4), "C4", 0), ((5, 5), "C2", 0), ((3, 3, 3), "Oh", 0), ((3, 3, 2), "C4v", 2)],
)
def test_orbit_basis_spans_exactly_the_invariant_kernels(
    kernel: tuple[int, ...], name: str, axis: int
) -> None:
    group = named_group(name, len(kernel), axis)
    flat = orbit_basis(kernel, group).kernels().flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(len(flat), dtype=torch.float64), atol=1e-14, rtol=0)
    unit = torch.eye(torch.Size(kernel).numel(), dtype=torch.float64).reshape(-1, 1, *kernel)
    reynolds = torch.stack([act(unit, g) for g in group]).mean(dim=0).flatten(1)
    torch.testing.assert_close(flat.T @ flat, reynolds, atol=1e-14, rtol=0)


@pytest.mark.parametrize(("dims", "counts"), [(2, {3: 2, 5: 3, 7: 4}), (3, {3: 2, 5: 3, 7: 4})])
def test_ring_basis_has_a_kernel_for_each_whole_radius(dims: int, counts: dict[int, int]) -> None:
    for k, count in counts.items():
        assert len(ring_basis((k,) * dims, (1.0,) * dims, full_group(dims))) == count


@pytest.mark.parametrize(
    ("kernel", "distance"),
    [
        ((5, 5), (1.0, 1.0)),
        ((7, 7, 7), (1.0, 1.0, 1.0)),
        ((3, 5, 5), (3.0, 1.0, 1.0)),
        ((5, 5, 5), (2.5, 0.7, 0.7)),
        ((1, 5, 5), (0.4, 1.0, 1.0)),
        ((3, 7), (1.3, 0.4)),
        ((1, 1), (1.0, 1.0)),
        ((4, 4), (1.0, 1.0)),
    ],
)
def test_ring_basis_is_orthonormal_and_depends_on_the_physical_radius(
    kernel: tuple[int, ...], distance: tuple[float, ...]
) -> None:
    group = admissible(full_group(len(kernel)), distance, kernel)
    kernels = ring_basis(kernel, distance, group).kernels()
    flat = kernels.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(len(flat), dtype=torch.float64), atol=1e-13, rtol=0)
    axes = [(torch.arange(k) - (k - 1) / 2) * h for k, h in zip(kernel, distance, strict=True)]
    radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).double().norm(dim=0).flatten()
    order = radius.argsort()
    same = (radius[order].diff().abs() < 1e-6).nonzero().flatten()
    torch.testing.assert_close(flat[:, order[same]], flat[:, order[same + 1]], atol=1e-6, rtol=0)


def test_ring_basis_sees_the_neighbours_on_a_coarse_axis() -> None:
    kernels = ring_basis((3, 5, 5), (3.0, 1.0, 1.0), named_group("D4h", 3)).kernels()
    assert kernels[:, 0, 2, 2].abs().sum() > 0.1


def test_ring_basis_leaves_taps_outside_the_disc_at_zero() -> None:
    kernels = ring_basis((7, 7), (1.0, 1.0), full_group(2)).kernels()
    assert (kernels[:, 0, 0] == 0).all()
    assert kernels[:, 0, 3].abs().sum() > 0.1


def test_rings_without_taps_are_left_out() -> None:
    # an axis without extent sets no ring distance, however fine it is
    basis = ring_basis((1, 3, 3), (0.1, 1.0, 1.0), named_group("D4h", 3))
    assert len(basis) == 2
    # a pair of taps at 0.5 from the centre: the hats at 0 and 1 agree on them up to scale
    assert len(ring_basis((1, 2), (1.0, 1.0), named_group("D2", 2))) == 1


def test_radii_within_the_tolerance_of_the_group_count_as_equal() -> None:
    group = admissible(full_group(2), (1.0, 1.0008), (5, 5))
    assert group == full_group(2)
    kernels = ring_basis((5, 5), (1.0, 1.0008), group).kernels()[:, None]
    assert all(torch.equal(act(kernels, g), kernels) for g in group)
