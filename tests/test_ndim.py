from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from medconv.errors import ConfigError
from medconv.ndim import CONV, CONV_MODULE, check_spatial_dims, same_padding, to_tuple

small = st.integers(1, 4)


@given(half=st.integers(0, 3), stride=small, dilation=small, size=st.integers(1, 20))
def test_odd_kernels_give_one_output_a_step_and_stay_centred(
    half: int, stride: int, dilation: int, size: int
) -> None:
    kernel = torch.zeros(1, 1, 2 * half + 1)
    kernel[..., half] = 1.0  # copies the voxel under its centre
    (padding,) = same_padding((2 * half + 1,), (stride,), (dilation,))
    x = torch.arange(1.0, size + 1)
    y = F.conv1d(x.reshape(1, 1, -1), kernel, stride=stride, padding=padding, dilation=dilation)
    torch.testing.assert_close(y.flatten(), x[::stride])


@given(half_stride=st.integers(1, 2), extra=st.integers(0, 2), steps=st.integers(1, 8))
def test_even_kernels_cover_a_divisible_grid_evenly(half_stride: int, extra: int, steps: int) -> None:
    stride, kernel = 2 * half_stride, 2 * (half_stride + extra)
    (padding,) = same_padding((kernel,), (stride,), (1,))
    y = F.conv1d(
        torch.arange(stride * steps * 1.0).reshape(1, 1, -1), torch.ones(1, 1, kernel), None, stride, padding
    )
    mirrored = F.conv1d(
        torch.arange(stride * steps * 1.0).flip(0).reshape(1, 1, -1),
        torch.ones(1, 1, kernel),
        None,
        stride,
        padding,
    )
    assert y.numel() == steps
    torch.testing.assert_close(y.flip(-1), mirrored)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 1), (4, 1), (2, 3), (2, 4)])
def test_what_cannot_be_padded_equally_is_refused(kernel: int, stride: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"got kernel_size {kernel}, stride {stride}, dilation 1: it cannot be padded"
    ):
        same_padding((kernel,), (stride,), (1,))


@pytest.mark.parametrize("kernel", [0, -3, 2.5])
def test_a_kernel_that_is_none_is_told_what_to_use(kernel: float) -> None:
    with pytest.raises(ConfigError, match=rf"use 3 or 5; got {kernel}$"):
        same_padding((kernel,), (1,), (1,))  # type: ignore[arg-type]


def test_a_stride_that_is_none_is_told_what_to_use() -> None:
    with pytest.raises(ConfigError, match=r"use 1 or 2; got 0$"):
        same_padding((3,), (0,), (1,))


@pytest.mark.parametrize("spatial_dims", [0, 1, 4, "2", None])
def test_only_two_and_three_dimensions_exist(spatial_dims: object) -> None:
    with pytest.raises(ConfigError, match=r"expected spatial_dims 2 or 3, got"):
        check_spatial_dims(spatial_dims)  # type: ignore[arg-type]


def test_a_scalar_is_repeated_and_a_sequence_checked() -> None:
    assert to_tuple(0.5, 3) == (0.5, 0.5, 0.5)
    assert to_tuple([1, 2], 2) == (1, 2)
    assert to_tuple("max", 2) == ("max", "max")
    with pytest.raises(ConfigError, match=r"expected stride with 3 entries \(one per axis\), got \[1, 2\]"):
        to_tuple([1, 2], 3, "stride")


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_function_and_module_of_a_dimension_agree(spatial_dims: int) -> None:
    x = torch.randn(1, 2, *[5] * spatial_dims)
    layer = CONV_MODULE[spatial_dims](2, 3, 3)
    torch.testing.assert_close(layer(x), CONV[spatial_dims](x, layer.weight, layer.bias))
