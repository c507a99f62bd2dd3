"""A convolution on the processor that is quick for a single volume too."""

from __future__ import annotations

import torch
from torch import Tensor

from medconv.ndim import CONV

Ints = tuple[int, ...]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    """What ``torch.nn.functional.conv2d`` or ``conv3d`` gives.

    PyTorch hands a batch of one small volume to an implementation that is two to ten times slower than oneDNN's,
    which it takes for two of them. In inference mode, where nothing has to be differentiated or traced, such a batch
    goes to oneDNN too.

    Args:
        x: ``(B, C, *S)``.
        weight: ``(O, C / groups, *kernel)``.
        bias: ``(O,)`` or none.
        stride: One number an axis, as the three that follow.
        padding: Zeros on either side.
        dilation: Distance of the kernel's voxels.
        groups: Of channels.

    Cost:
        ``prod(kernel) * C / groups`` multiply-adds an output value.

    Example:
        >>> x, weight = torch.ones(1, 1, 4, 4, 4), torch.ones(1, 1, 3, 3, 3)
        >>> with torch.inference_mode():
        ...     y = convolve(x, weight, None, (1, 1, 1), (1, 1, 1), (1, 1, 1), 1)
        >>> y[0, 0, 0, 0, 0].item(), y[0, 0, 1, 1, 1].item()
        (8.0, 27.0)

    Source: ``ConvParams::use_mkldnn`` in PyTorch 2.13's ``aten/src/ATen/native/Convolution.cpp`` (from which size on
        a single volume goes to oneDNN by itself).
    """
    if _is_left_to_the_slow_one(x, weight):
        y: Tensor = torch.ops.aten.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)
        return y
    return CONV[len(stride)](x, weight, bias, stride, padding, dilation, groups)


def _is_left_to_the_slow_one(x: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling():  # first: what follows cannot be traced
        return False
    is_lone_volume = x.dim() == 5 and x.shape[0] == 1 and x.numel() > 0
    is_simple = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    has_choice = torch.is_inference_mode_enabled() and torch.backends.mkldnn.is_available()
    # what a kernel of one voxel does, a product of matrices does sooner
    return (
        is_lone_volume
        and is_simple
        and has_choice
        and bool(torch.backends.mkldnn.enabled)
        and weight[0, 0].numel() > 1
    )
