"""The one place that imports Triton, which is absent where torch was built for CPUs only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = tl = None

HAS_TRITON = triton is not None

_TYPES = (torch.float32, torch.float16, torch.bfloat16)
"""The kernels add up in float32, which would rob float64 of its digits."""


def jit(function: Callable[..., Any]) -> Any:
    """``triton.jit``; without Triton the function itself, which is then never called."""
    return triton.jit(function) if HAS_TRITON else function


def is_usable(x: Tensor) -> bool:
    """Whether kernels may run on ``x``: on a GPU, and not while ``torch.compile`` makes its own."""
    return HAS_TRITON and x.is_cuda and x.dtype in _TYPES and not torch.compiler.is_compiling()


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is not below ``n``.

    Example:
        >>> next_power_of_2(1), next_power_of_2(12)
        (1, 16)
    """
    return 1 << (n - 1).bit_length()


__all__ = ["HAS_TRITON", "is_usable", "jit", "next_power_of_2", "tl", "triton"]
