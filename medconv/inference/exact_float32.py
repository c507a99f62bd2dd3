"""Float32 that is float32 on a GPU too, where PyTorch lets convolutions round to TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch

_CUDNN: Any = torch.backends.cudnn  # its types know nothing of conv
_LOCK = Lock()
_inside = 0
_before: tuple[str, str] = ("", "")


@contextmanager
def exact_float32() -> Iterator[None]:
    """No TF32 in convolutions and products of matrices within this context; afterwards PyTorch is set as it was.

    TF32 keeps 10 bits of the mantissa. A turned image then meets other roundings, and the output of a network that
    turns with its input does so to about 4e-3 only. Several threads may be inside: the last to leave restores.

    Cost:
        Convolutions leave the tensor cores of a GPU, which are several times quicker.

    Example:
        >>> with exact_float32():
        ...     torch.backends.cudnn.conv.fp32_precision
        'ieee'
    """
    global _inside, _before
    with _LOCK:
        if not _inside:
            _before = _precisions()
            _set_precisions("ieee", "ieee")
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if not _inside:
                _set_precisions(*_before)


def _precisions() -> tuple[str, str]:
    """Of convolutions and of products."""
    return _CUDNN.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


def _set_precisions(convolution: str, product: str) -> None:
    _CUDNN.conv.fp32_precision = convolution
    torch.backends.cuda.matmul.fp32_precision = product
