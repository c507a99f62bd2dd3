from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medconv.ops import edge_weight, window_sum
from medconv.ops.normalised import EMPTY_WINDOW, Window, normalised_convolution

GEOMETRIES = [
    (2, 3, 1, 1, 1, 1),
    (2, 3, 2, 1, 1, 2),
    (2, 5, 1, 4, 2, 1),
    (2, 4, 2, 1, 1, 1),
    (3, 3, 1, 1, 1, 2),
    (3, 3, 2, 2, 2, 1),
]
every_geometry = pytest.mark.parametrize(
    ("dims", "kernel", "stride", "padding", "dilation", "groups"), GEOMETRIES
)


def window_of(dims: int, kernel: int, stride: int, padding: int, dilation: int, groups: int) -> Window:
    return Window((kernel,) * dims, (stride,) * dims, (padding,) * dims, (dilation,) * dims, groups)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(3, 1, 1, 1), (3, 2, 1, 1), (5, 1, 4, 2), (2, 2, 0, 1), (4, 2, 1, 1)],
)
def test_window_sum_is_a_convolution_with_ones(
    dims: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    x = torch.rand(2, 1, *(9, 8, 7)[:dims], dtype=torch.float64)
    ones = torch.ones(1, 1, *[kernel] * dims, dtype=torch.float64)
    expected = (F.conv2d, F.conv3d)[dims - 2](x, ones, None, stride, padding, dilation)
    got = window_sum(x, [kernel] * dims, [stride] * dims, [padding] * dims, [dilation] * dims)
    torch.testing.assert_close(got, expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 2, 2), (1, 5, 2)])
def test_window_sum_of_a_map_smaller_than_the_window(size: tuple[int, ...]) -> None:
    x = torch.rand(1, 1, *size, dtype=torch.float64)
    expected = F.conv3d(x, torch.ones(1, 1, 3, 3, 3, dtype=torch.float64), padding=1)
    got = window_sum(x, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1))
    torch.testing.assert_close(got, expected, atol=1e-13, rtol=0)


def test_window_sum_takes_each_axis_by_its_own() -> None:
    x = torch.rand(1, 2, 6, 9)
    got = window_sum(x, (1, 3), (2, 1), (0, 2), (1, 2))
    expected = F.conv2d(x.flatten(0, 1)[:, None], torch.ones(1, 1, 1, 3), None, (2, 1), (0, 2), (1, 2))
    torch.testing.assert_close(got, expected.reshape(1, 2, 3, 9))


def test_edge_weight_of_a_hand_made_edge() -> None:
    energy = torch.tensor([0.0, 4.0, 12.0, 1e9]).reshape(1, 1, 2, 2)
    stopping = edge_weight(energy, torch.tensor(1.0), torch.tensor(2.0)).flatten()
    torch.testing.assert_close(stopping, torch.tensor([1.0, 1 / 2, 1 / 4, 1 / 1001]))
    emphasising = edge_weight(energy, torch.tensor(-0.5), torch.tensor(2.0)).flatten()
    torch.testing.assert_close(emphasising, torch.tensor([1.0, 2**0.5, 2.0, 1001**0.5]) / 1001**0.5)


def test_edge_weight_is_exactly_one_at_exponent_zero() -> None:
    energy = 100 * torch.rand(3, 1, 5, 5)
    assert torch.equal(edge_weight(energy, torch.tensor(0.0), torch.tensor(0.3)), torch.ones(3, 1, 5, 5))


def test_each_case_is_scaled_by_its_own_largest_weight() -> None:
    energy = torch.tensor([1.0, 2.0, 30.0, 50.0]).reshape(2, 1, 1, 2)
    weight = edge_weight(energy, torch.tensor(0.7), torch.tensor(1.0))
    assert torch.equal(weight.flatten(1).amax(dim=1), torch.ones(2))
    assert torch.equal(weight[1:], edge_weight(energy[1:], torch.tensor(0.7), torch.tensor(1.0)))


@every_geometry
def test_spread_is_the_transpose_of_the_sum(
    dims: int, kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> None:
    window = window_of(dims, kernel, stride, padding, dilation, groups)
    x = torch.randn(2, 1, *(9, 8, 7)[:dims], dtype=torch.float64)
    y = torch.randn_like(window.sum(x))
    left, right = (window.sum(x) * y).sum(), (x * window.spread(y, x.shape[2:])).sum()
    torch.testing.assert_close(left, right, atol=1e-12, rtol=0)


@every_geometry
@pytest.mark.parametrize("has_bias", [True, False])
def test_closed_backward_is_that_of_autograd(
    dims: int, kernel: int, stride: int, padding: int, dilation: int, groups: int, has_bias: bool
) -> None:
    torch.manual_seed(0)
    window = window_of(dims, kernel, stride, padding, dilation, groups)
    x = torch.randn(2, 4, *(9, 8, 7)[:dims], dtype=torch.float64, requires_grad=True)
    a = (0.01 + torch.rand_like(x[:, :1])).detach().requires_grad_()
    w = torch.randn(6, 4 // groups, *window.kernel_size, dtype=torch.float64, requires_grad=True)
    b = torch.randn(6, dtype=torch.float64, requires_grad=True) if has_bias else None
    full = window.sum(torch.ones_like(a[:1])).detach()

    def plainly() -> torch.Tensor:
        votes = window.convolve(x * a, w) * (full / window.sum(a).clamp(min=EMPTY_WINDOW))
        return votes if b is None else votes + b.view(-1, *[1] * dims)

    inputs = [v for v in (x, a, w, b) if v is not None]
    y, expected = normalised_convolution(x, a, w, b, full, window), plainly()
    torch.testing.assert_close(y, expected, atol=1e-12, rtol=0)
    g = torch.randn_like(y)
    for got, want in zip(
        torch.autograd.grad(y, inputs, g), torch.autograd.grad(expected, inputs, g), strict=True
    ):
        torch.testing.assert_close(got, want, atol=1e-10, rtol=0)
    with torch.no_grad():
        assert torch.equal(normalised_convolution(x, a, w, b, full, window), y)


def test_only_what_is_wanted_is_computed_and_little_is_kept() -> None:
    window = window_of(2, 3, 1, 1, 1, 1)
    x, a = torch.randn(1, 8, 16, 16), torch.rand(1, 1, 16, 16) + 0.1
    w = torch.randn(8, 8, 3, 3, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = normalised_convolution(x, a, w, None, torch.full((), 9.0), window)
    assert sum(t.numel() == x.numel() for t in kept) == 2, "the weighted input and the result"
    y.sum().backward()
    assert w.grad is not None
    assert x.grad is None
