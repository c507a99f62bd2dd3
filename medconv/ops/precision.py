"""What autocast will do to a map, in words that ``torch.compile`` understands."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Autocast switched off on the device of ``x``, for sums that half precision cannot hold.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision(torch.ones(1)):
        ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
        torch.float32
    """
    return torch.autocast(x.device.type, enabled=False) if _has_autocast(x) else nullcontext()


def convolution_dtype(x: Tensor) -> torch.dtype:
    """The type in which a convolution of ``x`` will be computed; autocast cannot look into an autograd function.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     convolution_dtype(torch.ones(1)), convolution_dtype(torch.ones(1, dtype=torch.float64))
        (torch.bfloat16, torch.float64)
    """
    device = x.device.type
    if x.dtype == torch.float64 or not _has_autocast(x) or not torch.is_autocast_enabled(device):
        return x.dtype
    return torch.get_autocast_dtype(device)


def _has_autocast(x: Tensor) -> bool:
    # torch.amp.is_autocast_available would ask the same; torch.compile up to 2.11 refuses to look into it
    return x.device.type != "meta"
