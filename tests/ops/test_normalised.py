from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medconv.ops import edge_weight, window_sum


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
