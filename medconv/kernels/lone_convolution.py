"""Convolutions on the processor that are quick for a single volume too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from medconv.ndim import to_tuple


def quick_alone(batch: Tensor) -> AbstractContextManager[Any]:
    """Inside, a network is asked for a batch on the processor, and a single volume takes no longer than it should.

    PyTorch hands a batch of one small volume to an implementation that takes up to eight times as long as oneDNN's,
    which it asks for two of them. Inside, every ``conv3d`` of a single volume goes to oneDNN, whatever network asks
    for it. The numbers are the same up to rounding; other batches, types and devices are left as they are.

    Args:
        batch: ``(B, C, *S)``, what the network is asked for.

    Cost:
        Some microseconds for each operation of the network.

    Example:
        >>> volume, network = torch.ones(1, 1, 4, 4, 4), torch.nn.Conv3d(1, 2, 3, padding=1)
        >>> with quick_alone(volume):
        ...     network(volume).shape
        torch.Size([1, 2, 4, 4, 4])

    Source: ``ConvParams::use_mkldnn`` in PyTorch's ``aten/src/ATen/native/Convolution.cpp`` (which volumes go to
        oneDNN by themselves: those of more than 20 480 numbers, the last axis not counted).
    """
    is_lone = batch.dim() == 5 and batch.shape[0] == 1 and batch.device.type == "cpu"
    has_choice = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    has_choice = has_choice and not torch.is_autocast_enabled("cpu")  # which would be passed by
    return _LoneVolumes() if is_lone and has_choice else nullcontext()


class _LoneVolumes(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.conv3d:
            return _convolve(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _convolve(
    input: Tensor,  # noqa: A002 (all names are those of torch.conv3d)
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    is_single = input.dim() == 5 and input.shape[0] == 1 and input.numel() > 0
    is_plain = input.dtype == weight.dtype == torch.float32 and not isinstance(padding, str)
    # what a kernel of one voxel does, a product of matrices does sooner
    if not (is_single and is_plain and weight[0, 0].numel() > 1):
        return torch.conv3d(input, weight, bias, stride, padding, dilation, groups)
    geometry = [to_tuple(value, 3) for value in (padding, stride, dilation)]
    y: Tensor = torch.ops.aten.mkldnn_convolution(input, weight, bias, *geometry, groups)
    return y
