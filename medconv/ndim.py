"""The same operation in 2-D and 3-D, chosen by a number and never guessed from a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError

CONV: dict[int, Callable[..., Tensor]] = {2: F.conv2d, 3: F.conv3d}
CONV_MODULE: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE_MODULE: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL: dict[int, Callable[..., Tensor]] = {2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL: dict[int, Callable[..., Tensor]] = {2: F.avg_pool2d, 3: F.avg_pool3d}
LINEAR_MODE: dict[int, str] = {2: "bilinear", 3: "trilinear"}


def check_spatial_dims(spatial_dims: int) -> int:
    """Return ``spatial_dims`` if it is 2 or 3.

    Raises:
        ConfigError: It is anything else.
    """
    if spatial_dims not in (2, 3):
        raise ConfigError(f"expected spatial_dims 2 or 3, got {spatial_dims!r}")
    return spatial_dims


def to_tuple(value: Any, spatial_dims: int, name: str = "value") -> tuple[Any, ...]:
    """Repeat a scalar for every spatial axis, or check that a sequence has one entry an axis.

    Example:
        >>> to_tuple(3, 2), to_tuple((1, 3, 3), 3)
        ((3, 3), (1, 3, 3))

    Raises:
        ConfigError: The sequence has another length; ``name`` is in the text.
    """
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (value,) * spatial_dims
    if len(value) != spatial_dims:
        raise ConfigError(f"expected {name} with {spatial_dims} entries (one per axis), got {list(value)}")
    return tuple(value)


def same_padding(
    kernel_size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...]:
    """Symmetric padding that keeps the grid centred: ``ceil(S / stride)`` outputs for odd kernels.

    An even kernel has no centre; it is accepted only where the padding is still the same on both sides
    (kernel 2 or 4 with stride 2).

    Example:
        >>> same_padding((3, 5), (1, 2), (1, 1)), same_padding((2,), (2,), (1,))
        ((1, 2), (0,))

    Raises:
        ConfigError: A kernel or stride below 1 or not whole, or a kernel that would need more padding on one side
            than on the other.
    """
    for k, s in zip(kernel_size, stride, strict=True):
        if not isinstance(k, Integral) or k < 1:
            raise ConfigError(f"expected a kernel_size of 1 or more whole voxels, use 3 or 5; got {k}")
        if not isinstance(s, Integral) or s < 1:
            raise ConfigError(f"expected a stride of 1 or more whole voxels, use 1 or 2; got {s}")
    padding = []
    for k, s, r in zip(kernel_size, stride, dilation, strict=True):
        extent = r * (k - 1) + 1
        excess = extent - (1 if k % 2 else s)
        if r < 1 or excess < 0 or excess % 2:
            raise ConfigError(
                f"expected an odd kernel_size, or an even one with an even difference to its stride; "
                f"got kernel_size {k}, stride {s}, dilation {r}: it cannot be padded equally on both sides, "
                "use 3 or 5"
            )
        padding.append(excess // 2)
    return tuple(padding)
