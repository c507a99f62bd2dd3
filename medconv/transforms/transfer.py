"""Many small arrays to the device in one copy that nothing waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Name = TypeVar("Name")

_WORD = 8
"""Every array begins at a multiple of this many bytes, or a tensor could not look at it."""


def move_together(arrays: Mapping[Name, npt.NDArray[Any]], device: torch.device) -> dict[Name, Tensor]:
    """Copies of numpy arrays on a device, by way of one buffer.

    A copy from ordinary memory would first wait for everything that the device has still to do; the buffer is
    pinned, so this one does not.

    Args:
        arrays: Of any number types and shapes.
        device: Where they are needed.

    Example:
        >>> moved = move_together({"a": np.arange(3), "b": np.ones((1, 2), np.float32)}, torch.device("cpu"))
        >>> moved["a"].dtype, moved["b"].shape
        (torch.int64, torch.Size([1, 2]))
    """
    if not arrays:
        return {}
    lengths = [-(-array.nbytes // _WORD) * _WORD for array in arrays.values()]
    buffer = torch.empty(sum(lengths), dtype=torch.uint8, pin_memory=device.type == "cuda")
    starts = np.cumsum([0, *lengths])
    for start, array in zip(starts, arrays.values(), strict=False):
        buffer.numpy()[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    moved = buffer.to(device, non_blocking=True)
    return {
        name: moved[start : start + array.nbytes].view(_DTYPES[array.dtype.type]).view(array.shape)
        for start, (name, array) in zip(starts, arrays.items(), strict=False)
    }


_DTYPES = {np.int64: torch.int64, np.int32: torch.int32, np.float32: torch.float32, np.float64: torch.float64}
