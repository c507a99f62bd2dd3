from __future__ import annotations

from functools import partial
from math import comb
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from medconv.errors import ConfigError, ShapeError
from medconv.ops import SymmetricConv, act, check_conv, full_group, named_group


def error_under(conv: nn.Module, x: torch.Tensor, element: Any) -> float:
    y = conv(x)
    return float(((conv(act(x, element)) - act(y, element)).abs().max() / y.abs().max()).detach())


def scrambled(*args: Any, **kwargs: Any) -> SymmetricConv:
    torch.manual_seed(0)
    conv = SymmetricConv(*args, **kwargs).double()
    nn.init.normal_(conv.theta)
    return conv


@pytest.mark.parametrize("basis", ["orbit", "ring"])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("dims", [2, 3])
def test_commutes_with_every_element(dims: int, kernel: int, basis: Any) -> None:
    conv = scrambled(dims, 2, 2, kernel, basis=basis)
    x = torch.randn(1, 2, *[7] * dims, dtype=torch.float64)
    assert conv.symmetry() == full_group(dims)
    assert max(error_under(conv, x, g) for g in full_group(dims)) <= 1e-12


@pytest.mark.parametrize(
    ("dims", "name", "kernel", "axis"),
    [
        (2, "C2", 3, None),
        (2, "C4", 5, None),  # at k = 3, C4-tying is D4-tying
        (2, "D2", 3, None),
        (3, "C4", 5, None),
        (3, "C4v", 3, 1),
        (3, "C4h", 5, 2),
        (3, "D4", 5, None),
        (3, "D4h", 3, 2),
        (3, "D2h", 3, None),
        (3, "O", 7, None),  # up to k = 5, O-tying is Oh-tying
    ],
)
def test_has_the_declared_group_and_no_more(dims: int, name: str, kernel: int, axis: int | None) -> None:
    conv = scrambled(dims, 1, 2, kernel, basis="orbit", group=name, axis=axis)
    group = conv.symmetry()
    assert group == named_group(name, dims, axis or 0)
    x = torch.randn(1, 1, *[7] * dims, dtype=torch.float64)
    errors = {g: error_under(conv, x, g) for g in full_group(dims)}
    assert max(errors[g] for g in group) <= 1e-12
    assert min(error for g, error in errors.items() if g not in group.elements) > 1e-2


def test_handedness_is_invisible_to_small_kernels() -> None:
    assert scrambled(2, 1, 1, 3, group="C4").theta.shape == scrambled(2, 1, 1, 3, group="D4").theta.shape
    conv = scrambled(3, 1, 1, 5, group="O")
    assert torch.equal(conv.dense_weight(), conv.dense_weight().flip(2))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "is_exact"),
    [
        (32, 3, 2, False),
        (33, 3, 2, True),
        (32, 4, 2, True),
        (32, 2, 2, True),
        (32, 6, 2, True),
        (33, 2, 2, False),
    ],
)
def test_symmetry_is_exact_where_the_stride_leaves_nothing_over(
    size: int, kernel: int, stride: int, is_exact: bool
) -> None:
    conv = scrambled(2, 1, 2, kernel, stride=stride, basis="orbit")
    x = torch.randn(1, 1, size, size, dtype=torch.float64)
    worst = max(error_under(conv, x, g) for g in full_group(2))
    assert worst <= 1e-12 if is_exact else worst > 1e-2


@pytest.mark.parametrize(
    ("spacing", "kernel", "stride", "name", "free"),
    [
        ((1.0, 1.0, 1.0), 3, 1, "Oh", 4),
        ((3.0, 1.0, 1.0), 3, 1, "D4h", 6),
        ((3.0, 1.0, 1.0), (1, 3, 3), (1, 2, 2), "D4h", 3),
        ((0.8, 0.8, 2.5), (3, 3, 1), 1, "D4h", 3),
        ((3.0, 1.0, 0.5), 3, 1, "D2h", 8),
    ],
)
def test_auto_takes_all_that_the_grid_allows(
    spacing: tuple[float, ...], kernel: Any, stride: Any, name: str, free: int
) -> None:
    conv = SymmetricConv(3, 1, 1, kernel, stride=stride, spacing_mm=spacing)
    group = conv.symmetry()
    assert group is not None
    assert (group.name, conv.theta.shape[-1]) == (name, free)


def test_special_axis_is_the_one_whose_spacing_differs() -> None:
    conv = SymmetricConv(3, 1, 1, spacing_mm=(0.8, 0.8, 2.5), group="C4v")
    assert conv.symmetry() == named_group("C4v", 3, axis=2)
    flat = SymmetricConv(3, 1, 1, (3, 1, 3), group="C4")
    assert flat.symmetry() == named_group("C4", 3, axis=1)


def test_another_spacing_may_leave_less_symmetry() -> None:
    conv = SymmetricConv(3, 1, 1)
    thick = conv.symmetry(spacing_mm=(3.0, 1.0, 1.0))
    assert thick is not None
    assert thick.name == "D4h"
    assert SymmetricConv(2, 1, 1, group="C1").symmetry() is None


def test_refuses_a_group_that_the_grid_cannot_have() -> None:
    with pytest.raises(
        ConfigError, match=r"group 'Oh' \(48 elements\).*\(3.0, 1.0, 1.0\).*at most 'D4h' \(16\)"
    ):
        SymmetricConv(3, 1, 1, spacing_mm=(3.0, 1.0, 1.0), group="Oh")
    with pytest.raises(ConfigError, match=r"group 'C4'.*kernel_size \(1, 3\).*at most 'D2'"):
        SymmetricConv(2, 1, 1, (1, 3), group="C4")
    with pytest.raises(ConfigError, match=r"group 'C4v'.*at most 'D4h'"):
        SymmetricConv(3, 1, 1, spacing_mm=(3.0, 1.0, 1.0), group="C4v", axis=2)


def test_refuses_settings_that_would_have_no_effect() -> None:
    with pytest.raises(ConfigError, match="expected basis 'auto', 'orbit' or 'ring', got 'rings'"):
        SymmetricConv(2, 1, 1, basis="rings")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="rings have the whole symmetry of the grid, 'D4', so group 'C4'"):
        SymmetricConv(2, 1, 1, basis="ring", group="C4")
    with pytest.raises(ConfigError, match=r"no 2-D symmetry group 'D5'"):
        SymmetricConv(2, 1, 1, group="D5")


@pytest.mark.parametrize(
    ("kernel", "group", "basis"),
    [
        (3, "auto", "orbit"),
        (5, "auto", "ring"),
        ((3, 5), "auto", "ring"),
        (5, "D4", "ring"),
        (5, "C4", "orbit"),
    ],
)
def test_auto_basis_takes_rings_for_large_kernels_of_the_full_group(
    kernel: Any, group: str, basis: str
) -> None:
    assert SymmetricConv(2, 1, 1, kernel, group=group).basis == basis


@pytest.mark.parametrize(
    ("dims", "kernel", "basis"), [(2, 3, "orbit"), (2, 7, "ring"), (3, 3, "orbit"), (3, 5, "ring")]
)
def test_initial_weights_keep_the_variance(dims: int, kernel: int, basis: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 24, *[16 if dims == 3 else 48] * dims)
    margin = kernel // 2
    conv = SymmetricConv(dims, 24, 48, kernel, basis=basis, bias=False)
    y = conv(x)[(..., *[slice(margin, -margin)] * dims)]
    assert 0.8 <= y.square().mean().item() / 2 <= 1.25, "He: twice the power of the input"


@pytest.mark.parametrize(
    ("dims", "basis", "group"), [(2, "orbit", "C4"), (3, "orbit", "Oh"), (2, "ring", "auto")]
)
def test_a_gradient_step_is_the_symmetric_part_of_the_dense_step(dims: int, basis: Any, group: str) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        conv = scrambled(dims, 2, 3, 5 if dims == 2 else 3, basis=basis, group=group)
    finally:
        torch.set_default_dtype(torch.float32)
    x = torch.randn(2, 2, *[6] * dims, dtype=torch.float64)
    dense = conv.dense_weight().detach().requires_grad_()
    conv.convolve(x, dense).square().sum().backward()
    conv(x).square().sum().backward()
    assert dense.grad is not None
    assert conv.theta.grad is not None
    expected = conv.project(dense.detach() - 0.1 * dense.grad)
    torch.testing.assert_close(conv.theta.detach() - 0.1 * conv.theta.grad, expected, atol=0, rtol=1e-12)


@pytest.mark.parametrize("group", ["C4", "D4", "C2"])
def test_projection_is_the_average_over_the_group(group: str) -> None:
    conv = scrambled(2, 2, 3, 5, basis="orbit", group=group)
    dense = torch.randn(conv.weight_shape, dtype=torch.float64)
    with torch.no_grad():
        conv.theta.copy_(conv.project(dense))
    reynolds = torch.stack([act(dense, g) for g in conv.group]).mean(dim=0)
    torch.testing.assert_close(conv.dense_weight(), reynolds, atol=1e-14, rtol=0)
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(conv(x), nn.functional.conv2d(x, reynolds, conv.bias, padding=2))


@pytest.mark.parametrize("basis", ["orbit", "ring"])
def test_projection_inverts_the_expansion(basis: Any) -> None:
    conv = SymmetricConv(3, 2, 3, 5, basis=basis)
    torch.testing.assert_close(conv.project(conv.dense_weight()), conv.theta)
    with pytest.raises(
        ShapeError, match=r"expected a kernel of shape \(3, 2, 5, 5, 5\), got \(3, 2, 3, 3, 3\)"
    ):
        conv.project(torch.zeros(3, 2, 3, 3, 3))


def test_rings_are_drawn_by_physical_distance_whether_spacing_or_dilation_makes_it() -> None:
    spaced = scrambled(2, 1, 1, 5, basis="ring", spacing_mm=(2.0, 1.0))
    dilated = scrambled(2, 1, 1, 5, basis="ring", dilation=(2, 1))
    isotropic = scrambled(2, 1, 1, 5, basis="ring", spacing_mm=(2.0, 1.0), dilation=(1, 2))
    assert torch.equal(spaced.dense_weight(), dilated.dense_weight())
    assert not torch.equal(spaced.dense_weight(), isotropic.dense_weight())


@pytest.mark.parametrize("basis", ["orbit", "ring"])
@pytest.mark.parametrize("dims", [2, 3])
def test_fold_is_exact(dims: int, basis: Any) -> None:
    conv = SymmetricConv(dims, 2, 4, 5, basis=basis, groups=2, stride=2, dilation=2)
    x = torch.randn(2, 2, *[11] * dims)
    assert torch.equal(conv.fold()(x), conv(x))


@pytest.mark.parametrize("basis", ["orbit", "ring"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_kernel_is_written_out_exactly_under_autocast(basis: Any, dtype: torch.dtype) -> None:
    conv = SymmetricConv(3, 2, 3, 5, basis=basis)
    expected = conv.dense_weight()
    with torch.autocast("cpu", dtype=dtype):
        assert conv.dense_weight().dtype == torch.float32
        assert torch.equal(conv.dense_weight(), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_kernel_is_exactly_symmetric_in_half_precision(dtype: torch.dtype) -> None:
    weight = SymmetricConv(3, 2, 3, 5).to(dtype).dense_weight()
    assert weight.dtype == dtype
    assert all(torch.equal(act(weight, g), weight) for g in full_group(3))


def test_checkpoint_holds_coefficients_and_bias_only() -> None:
    assert set(SymmetricConv(3, 2, 3, 5).state_dict()) == {"theta", "bias"}


def rotation_error(conv: nn.Module, image: np.ndarray, angle: float) -> float:
    def turn(values: np.ndarray) -> np.ndarray:
        return ndimage.rotate(values, angle, reshape=False, order=5, mode="constant")

    def apply(values: np.ndarray) -> np.ndarray:
        return conv(torch.from_numpy(values)[None, None]).detach().numpy()[0, 0]

    centre = (image.shape[0] - 1) / 2
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] - centre
    inside = np.hypot(x, y) < centre - 12
    expected, got = turn(apply(image))[inside], apply(turn(image))[inside]
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def test_rings_hold_between_the_right_angles_where_orbits_do_not(rng: np.random.Generator) -> None:
    image = ndimage.gaussian_filter(rng.standard_normal((96, 96)), 1.0)

    def mean_error(basis: Any) -> float:
        return float(
            np.mean(
                [
                    rotation_error(scrambled(2, 1, 1, 7, basis=basis, bias=False), image, angle)
                    for angle in (15, 30, 45, 60, 75)
                ]
            )
        )

    ring, orbit = mean_error("ring"), mean_error("orbit")
    assert ring < 0.2 * orbit
    assert ring < 0.1
    assert orbit > 0.2


# free parameters a pair of channels: rows are kernels of 3, 5, 7 taps
FREE_2D = {"C1": (9, 25, 49), "C2": (5, 13, 25), "C4": (3, 7, 13), "D4": (3, 6, 10), "ring": (2, 3, 4)}
FREE_3D = {
    "C1": (27, 125, 343), "O": (4, 10, 21), "Oh": (4, 10, 20), "D4h": (6, 18, 40), "D4": (6, 20, 49),
    "C4v": (9, 30, 70), "C4h": (6, 21, 52), "C4": (9, 35, 91), "D2h": (8, 27, 64), "ring": (2, 3, 4),
}  # fmt: skip
FREE = [(2, name, row) for name, row in FREE_2D.items()] + [(3, name, row) for name, row in FREE_3D.items()]


@pytest.mark.parametrize(("dims", "name", "row"), FREE)
def test_free_parameters_are_those_of_the_table(dims: int, name: str, row: tuple[int, ...]) -> None:
    character = {"basis": "ring"} if name == "ring" else {"basis": "orbit", "group": name}
    counts = [SymmetricConv(dims, 1, 1, k, **character).theta.shape[-1] for k in (3, 5, 7)]  # type: ignore[arg-type]
    assert tuple(counts) == row


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_free_parameters_have_their_closed_forms(m: int) -> None:
    def count(dims: int, group: str) -> int:
        return SymmetricConv(dims, 1, 1, 2 * m + 1, basis="orbit", group=group).theta.numel()

    assert count(2, "D4") == (m + 1) * (m + 2) // 2
    assert count(2, "C4") == ((2 * m + 1) ** 2 + 3) // 4
    assert count(3, "Oh") == comb(m + 3, 3)


@pytest.mark.parametrize(("ratio", "tied"), [(1.0, 8), (0.5, 4), (0.25, 2), (0.0, 0)])
def test_a_share_of_the_channels_is_free(ratio: float, tied: int) -> None:
    conv = SymmetricConv(2, 2, 8, 3, iso_ratio=ratio, groups=2).double()
    weight = conv.dense_weight()
    assert weight.shape == conv.weight_shape
    is_tied = [bool((act(w[None], ((0, -1), (1, 0))) == w[None]).all()) for w in weight]
    assert is_tied == [True] * tied + [False] * (8 - tied)
    assert (conv.symmetry() is None) == (ratio < 1)
    assert sum(p.numel() for p in conv.parameters()) == 8 + tied * 3 + (8 - tied) * 9


def test_a_share_of_free_channels_passes_the_examination_and_keeps_the_variance() -> None:
    check_conv(partial(SymmetricConv, iso_ratio=0.5), backend=None)
    conv = SymmetricConv(2, 24, 64, 3, bias=False, iso_ratio=0.5)
    y = conv(torch.randn(1, 24, 48, 48))[..., 1:-1, 1:-1].square().mean(dim=(0, 2, 3)) / 2
    assert 0.8 <= y[:32].mean().item() <= 1.25
    assert 0.8 <= y[32:].mean().item() <= 1.25
    other = SymmetricConv(2, 24, 64, 3, bias=False, iso_ratio=0.5)
    other.load_dense(conv.dense_weight())
    torch.testing.assert_close(other.dense_weight(), conv.dense_weight())
    assert "iso_ratio=0.5" in repr(conv)
    with pytest.raises(ConfigError, match=r"expected iso_ratio from 0 to 1, got 1\.5"):
        SymmetricConv(2, 1, 1, iso_ratio=1.5)
