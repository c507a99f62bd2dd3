from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medconv.errors import ConfigError, ShapeError
from medconv.ops import (
    GroupConv,
    LiftingConv,
    SymmetricConv,
    act,
    full_group,
    named_group,
    pool_fields,
    split_fields,
    turn_fields,
)

GROUPS = [(2, "C2"), (2, "C4"), (2, "D4"), (3, "C4"), (3, "D4"), (3, "D4h"), (3, "O")]
every_group = pytest.mark.parametrize(("dims", "name"), GROUPS)
CONV = {2: F.conv2d, 3: F.conv3d}


def awake(kind: type, *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    conv = kind(*args, **kwargs).double()
    if conv.bias is not None:
        nn.init.normal_(conv.bias)
    return conv


def field_by_field(x: torch.Tensor, psi: torch.Tensor, group: Any) -> torch.Tensor:
    """The definition by rotating kernels: orientation g of a field is the kernel turned by g, its input
    orientations turned along."""
    elements, maps = list(group), []
    for g in elements:
        turned = psi
        if psi.dim() > x.dim():  # (O, I, |G|, *k): the kernel has orientations as well
            parts = [act(psi[:, :, h], g) for h in range(len(elements))]
            turned = torch.stack([parts[elements.index(quotient(g, h))] for h in elements], dim=2)
            turned = turned.flatten(1, 2)
        else:
            turned = act(psi, g)
        maps.append(CONV[x.dim() - 2](x, turned, padding=psi.shape[-1] // 2))
    return torch.stack(maps, dim=2).flatten(1, 2)


def quotient(g: Any, h: Any) -> Any:
    product = torch.tensor(g).T @ torch.tensor(h)
    return tuple(tuple(row) for row in product.tolist())


@every_group
def test_orientation_by_orientation_it_is_the_turned_kernel(dims: int, name: str) -> None:
    group = named_group(name, dims)
    n = group.order
    lift = awake(LiftingConv, dims, 2, 2 * n, 3, group=name, bias=False)
    conv = awake(GroupConv, dims, n, 2 * n, 3, group=name, bias=False)
    image = torch.randn(1, 2, *[5] * dims, dtype=torch.float64)
    fields = torch.randn(1, n, *[5] * dims, dtype=torch.float64)
    torch.testing.assert_close(lift(image), field_by_field(image, lift.psi, group), atol=1e-12, rtol=0)
    torch.testing.assert_close(conv(fields), field_by_field(fields, conv.psi, group), atol=1e-12, rtol=0)


@every_group
def test_a_stack_turns_with_the_image_under_its_group_and_no_larger_one(dims: int, name: str) -> None:
    group = named_group(name, dims)
    n = group.order
    lift = awake(LiftingConv, dims, 1, 2 * n, group=name)
    conv = awake(GroupConv, dims, 2 * n, n, group=name)
    x = torch.randn(1, 1, *[5] * dims, dtype=torch.float64)

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = conv(lift(x).relu())
        return y, pool_fields(y.relu(), n, "mean")

    fields, pooled = run(x)
    for g in full_group(dims):
        turned, turned_pooled = run(act(x, g))
        error = float((turned_pooled - act(pooled, g)).detach().abs().max())
        if g in group.elements:
            torch.testing.assert_close(turned, turn_fields(fields, g, group), atol=1e-10, rtol=0)
            assert error < 1e-10
        else:
            assert error > 1e-4


@every_group
def test_turning_fields_is_an_action(dims: int, name: str) -> None:
    group = named_group(name, dims)
    elements = list(group)[:6]
    x = torch.randn(1, 2 * group.order, *[3] * dims)
    for g in elements:
        for h in elements:
            gh = tuple(tuple(row) for row in (torch.tensor(g) @ torch.tensor(h)).tolist())
            assert torch.equal(turn_fields(turn_fields(x, h, group), g, group), turn_fields(x, gh, group))
    quarter = x
    if name == "C4":
        g = next(g for g in group if quotient(g, g) == elements[0] and g not in (elements[0],))
        for _ in range(4):
            quarter = turn_fields(quarter, g, group)
        assert torch.equal(quarter, x)


@pytest.mark.parametrize("over", ["max", "mean"])
def test_pooled_fields_only_move(over: Any) -> None:
    group = named_group("D4", 2)
    x = torch.randn(2, 16, 4, 4)
    for g in group:
        pooled = pool_fields(turn_fields(x, g, group), 8, over)
        torch.testing.assert_close(pooled, act(pool_fields(x, 8, over), g))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "is_exact"),
    [(9, 3, 2, True), (8, 3, 2, False), (8, 4, 2, True), (8, 2, 2, True)],
)
def test_symmetry_is_exact_where_the_stride_leaves_nothing_over(
    size: int, kernel: int, stride: int, is_exact: bool
) -> None:
    conv = awake(LiftingConv, 2, 1, 8, kernel, stride=stride)
    x = torch.randn(1, 1, size, size, dtype=torch.float64)
    errors = [
        float((conv(act(x, g)) - conv.turn_output(conv(x), g)).detach().abs().max()) for g in conv.group
    ]
    assert max(errors) < 1e-12 if is_exact else max(errors) > 1e-2


@every_group
def test_parameters_are_those_of_the_formula(dims: int, name: str) -> None:
    n, taps = named_group(name, dims).order, 3**dims
    conv, lift = GroupConv(dims, 2 * n, 3 * n, group=name), LiftingConv(dims, 2, 3 * n, group=name)
    assert sum(p.numel() for p in conv.parameters()) == 3 * 2 * n * taps + 3
    assert sum(p.numel() for p in lift.parameters()) == 3 * 2 * taps + 3
    assert conv.macs([4] * dims) == 4**dims * 6 * n * n * taps


def test_equal_parameters_give_the_root_of_the_order_more_channels() -> None:
    # 4 orientations: twice the channels for the parameters of a plain convolution
    assert GroupConv(2, 32, 32, bias=False).psi.numel() == 16 * 16 * 9
    # and it holds kernels that a symmetric convolution of as many parameters cannot: oriented ones
    conv = awake(GroupConv, 2, 8, 8)
    assert not torch.allclose(conv.dense_weight(), conv.dense_weight().flip(-1))
    assert (
        torch.equal(SymmetricConv(2, 8, 8).dense_weight(), SymmetricConv(2, 8, 8).dense_weight().flip(-1))
        is False
    )


@pytest.mark.parametrize(("kind", "inputs"), [(LiftingConv, 24), (GroupConv, 24)])
def test_initial_weights_keep_the_variance(kind: type, inputs: int) -> None:
    conv = awake(kind, 2, inputs, 48, bias=False).float()
    y = conv(torch.randn(1, inputs, 48, 48))[..., 1:-1, 1:-1]
    assert 0.8 <= y.square().mean().item() / 2 <= 1.25


@pytest.mark.parametrize("kind", [LiftingConv, GroupConv])
def test_fold_is_exact_and_a_checkpoint_holds_kernels_only(kind: type) -> None:
    conv = kind(3, 8, 16, 3, group="D4")
    x = torch.randn(1, 8, 5, 5, 5)
    assert torch.equal(conv.fold()(x), conv(x))
    assert set(conv.state_dict()) == {"psi", "bias"}


def test_refuses_channels_and_groups_that_do_not_fit() -> None:
    with pytest.raises(
        ConfigError,
        match=r"expected in_channels in whole fields of 4 channels, the orientations of C4,.*got 6",
    ):
        GroupConv(2, 6, 8)
    with pytest.raises(ConfigError, match=r"expected out_channels in whole fields of 8 channels,.*got 12"):
        LiftingConv(2, 1, 12, group="D4")
    with pytest.raises(
        ConfigError,
        match=r"group 'O' \(24 elements\) exchanges axes.*at most 'D4h' \(16\); choose a group inside it",
    ):
        GroupConv(3, 24, 24, group="O", spacing_mm=(3.0, 1.0, 1.0))
    with pytest.raises(ConfigError, match="no 2-D symmetry group 'C3'"):
        LiftingConv(2, 1, 3, group="C3")
    with pytest.raises(ConfigError, match="expected to pool over fields by 'max' or 'mean', got 'sum'"):
        pool_fields(torch.zeros(1, 4, 2, 2), 4, "sum")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="expected channels in fields of 4 orientations, got 6 channels"):
        split_fields(torch.zeros(1, 6, 2, 2), 4)
