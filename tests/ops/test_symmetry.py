from __future__ import annotations

import pickle
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch

from medconv.errors import ConfigError, ShapeError
from medconv.ops import Element, SymmetryGroup, act, admissible, full_group, group_of, named_group

ORDERS_2D = {"C1": 1, "C2": 2, "C4": 4, "D2": 4, "D4": 8}
ORDERS_3D = {
    "C1": 1,
    "C2": 2,
    "C4": 4,
    "C4h": 8,
    "C4v": 8,
    "D2": 4,
    "D2h": 8,
    "D4": 8,
    "D4h": 16,
    "O": 24,
    "Oh": 48,
}
ALL = [(2, name, 0) for name in ORDERS_2D] + [(3, name, axis) for name in ORDERS_3D for axis in range(3)]


def matmul(g: Element, h: Element) -> Element:
    columns = list(zip(*h, strict=True))
    return tuple(tuple(sum(a * b for a, b in zip(row, c, strict=True)) for c in columns) for row in g)


def subgroups_of_the_cube() -> set[frozenset[Element]]:
    """Everything that up to three elements generate; the cube's group needs no more."""
    elements = list(full_group(3))
    number = {g: i for i, g in enumerate(elements)}
    table = [[number[matmul(g, h)] for h in elements] for g in elements]

    def close(generators: frozenset[int]) -> frozenset[int]:
        group = generators
        while True:
            larger = group | {table[g][h] for g in group for h in generators}
            if larger == group:
                return group
            group = larger

    cyclic = {close(frozenset({g})) for g in range(48)}
    found = {close(a | b) for a in cyclic for b in cyclic}
    found |= {close(a | b) for a in found for b in cyclic}
    return {frozenset(elements[i] for i in group) for group in found}


@pytest.mark.parametrize(("dims", "name", "axis"), ALL)
def test_named_group_has_its_name_and_order(dims: int, name: str, axis: int) -> None:
    group = named_group(name, dims, axis)
    assert group.name == name
    assert group.order == len(group) == (ORDERS_2D if dims == 2 else ORDERS_3D)[name]
    assert group.spatial_dims == dims


@pytest.mark.parametrize(("dims", "name", "axis"), [case for case in ALL if case[2] != 1])
def test_named_group_is_closed_and_holds_inverses(dims: int, name: str, axis: int) -> None:
    elements = named_group(name, dims, axis).elements
    assert {matmul(g, h) for g, h in product(elements, elements)} == elements
    assert {tuple(zip(*g, strict=True)) for g in elements} == elements


@pytest.mark.parametrize("axis", range(3))
def test_special_axis_keeps_its_place(axis: int) -> None:
    assert all(g[axis][axis] == 1 for g in named_group("C4v", 3, axis))
    assert any(g[axis][axis] == -1 for g in named_group("D4", 3, axis))
    turns = [g for g in named_group("C4", 3, axis) if matmul(g, g) != matmul(g, tuple(zip(*g, strict=True)))]
    assert len(turns) == 2, "two quarter turns have order 4"


def test_rotations_of_the_cube_have_determinant_one() -> None:
    assert all(round(np.linalg.det(np.array(g))) == 1 for g in named_group("O", 3))


def test_every_subgroup_of_the_cube_gets_a_name() -> None:
    # 98 subgroups in 33 conjugacy classes; D2, C2v and the like have two classes each under one name
    names = Counter(group_of(subgroup).name for subgroup in subgroups_of_the_cube())
    assert sum(names.values()) == 98
    assert names == {
        "C1": 1, "Ci": 1, "C2": 9, "Cs": 9, "C3": 4, "S6": 4, "C4": 3, "S4": 3, "C2h": 9, "C2v": 12, "D2": 4,
        "D2h": 4, "D3": 4, "C3v": 4, "D3d": 4, "C4h": 3, "C4v": 3, "D4": 3, "D2d": 6, "D4h": 3, "T": 1,
        "Th": 1, "Td": 1, "O": 1, "Oh": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [(("C4", 0), ("D2", 0), "C2"), (("D4h", 0), ("D4h", 2), "D2h"), (("C4v", 0), ("O", 0), "C4")],
)
def test_intersection_is_named(left: tuple[str, int], right: tuple[str, int], name: str) -> None:
    a, b = named_group(left[0], 3, left[1]), named_group(right[0], 3, right[1])
    both = a & b
    assert both.name == name
    assert both.elements == a.elements & b.elements
    assert both <= a
    assert both <= b


def test_reflection_groups_of_the_plane_are_named_by_their_mirrors() -> None:
    mirror = group_of(frozenset({((1, 0), (0, 1)), ((-1, 0), (0, 1))}))
    assert mirror.name == "D1"
    assert (mirror & named_group("C4", 2)).name == "C1"


def test_groups_compare_by_elements_and_not_by_name() -> None:
    assert SymmetryGroup("mine", named_group("C4", 2).elements) == named_group("C4", 2)
    assert named_group("C4", 3, 0) != named_group("C4", 3, 2)
    assert not named_group("D4", 2) <= named_group("C4", 2)


def test_iteration_is_in_a_fixed_order_with_the_identity_first() -> None:
    assert next(iter(full_group(3))) == ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    assert list(full_group(3)) == list(pickle.loads(pickle.dumps(full_group(3))))


@pytest.mark.parametrize("dims", [2, 3])
def test_act_moves_each_voxel_to_its_place(dims: int) -> None:
    size = 3
    for g in full_group(dims):
        for place in product(range(size), repeat=dims):
            x = torch.zeros(1, 1, *[size] * dims)
            x[(0, 0, *place)] = 1
            target = np.array(g) @ (np.array(place) - 1) + 1
            assert act(x, g)[(0, 0, *target)] == 1


@pytest.mark.parametrize("dims", [2, 3])
def test_act_after_act_is_the_product(dims: int) -> None:
    x = (
        torch.randn(2, 3, 4, 5, 6)[(..., *[slice(None)] * (dims - 1), 0)]
        if dims == 2
        else torch.randn(2, 3, 4, 5, 6)
    )
    elements = list(full_group(dims))[::5]
    for g, h in product(elements, elements):
        assert torch.equal(act(act(x, h), g), act(x, matmul(g, h)))


def test_quarter_turn_agrees_with_rot90() -> None:
    x = torch.randn(1, 2, 5, 5)
    assert torch.equal(act(x, ((0, -1), (1, 0))), torch.rot90(x, 1, (2, 3)))


def test_act_exchanges_unequal_axes() -> None:
    assert act(torch.zeros(1, 1, 4, 7), ((0, 1), (1, 0))).shape == (1, 1, 7, 4)


def test_act_refuses_another_rank() -> None:
    with pytest.raises(ShapeError, match=r"expected \(B, C, D, H, W\) for a 3-D element, got \(1, 1, 4, 4\)"):
        act(torch.zeros(1, 1, 4, 4), next(iter(full_group(3))))


@pytest.mark.parametrize(
    ("spacing", "kernel", "stride", "name"),
    [
        ((1.0, 1.0, 1.0), 3, 1, "Oh"),
        ((1.0, 1.0005, 1.0), 3, 1, "Oh"),  # within one in a thousand
        ((1.0, 1.01, 1.0), 3, 1, "D4h"),
        ((3.0, 1.0, 1.0), (1, 3, 3), 1, "D4h"),
        ((3.0, 2.0, 2.0), (1, 3, 3), (1, 2, 2), "D4h"),
        ((6.0, 8.0, 8.0), 3, 2, "D4h"),
        ((4.0, 4.0, 4.0), 3, 2, "Oh"),
        ((1.0, 1.0, 1.0), (1, 3, 3), 1, "D4h"),
        ((1.0, 1.0, 1.0), 3, (2, 2, 1), "D4h"),
        ((3.0, 1.0, 0.5), 3, 1, "D2h"),
        ((3.0, 1.0, 1.0), (3, 3, 1), 1, "D2h"),
    ],
)
def test_admissible_part_of_the_cube(
    spacing: tuple[float, ...], kernel: int | tuple[int, ...], stride: int | tuple[int, ...], name: str
) -> None:
    assert admissible(full_group(3), spacing, kernel, stride).name == name


def test_admissible_looks_at_dilation_and_stays_inside_the_group() -> None:
    assert admissible(named_group("C4", 2), (1.0, 1.0), 3, 1, (1, 2)).name == "C2"
    assert admissible(named_group("C4", 3, 2), (1.0, 1.0, 3.0)).name == "C4"
    assert admissible(named_group("C4", 3, 0), (1.0, 1.0, 3.0)).name == "C2"


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no 3-D symmetry group 'C4V'; did you mean 'C4v'\?"):
        named_group("C4V", 3)
    with pytest.raises(ConfigError, match=r"no 2-D symmetry group 'Oh'.*All: C1, C2, C4, D2, D4"):
        named_group("Oh", 2)


def test_refuses_what_is_no_group() -> None:
    turn = ((0, -1), (1, 0))
    with pytest.raises(ConfigError, match="closed under products, got 1 elements"):
        group_of(frozenset({turn}))
    with pytest.raises(ConfigError, match="signed permutation matrices"):
        group_of(frozenset({((2, 0), (0, 1))}))
    with pytest.raises(ConfigError, match="expected axis from 0 to 2, got 3"):
        named_group("C4", 3, 3)
    with pytest.raises(ConfigError, match="same space, got D4 in 2-D and Oh in 3-D"):
        full_group(2) & full_group(3)
