"""Linear resampling over the same field of view, one axis at a time, without aliasing.

Each axis is one small matrix, so that volumes, labels and class scores are resampled by the same few lines, a
ramp stays a ramp, and class scores can be made slab by slab without ever existing as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Number = TypeVar("Number", bound=np.generic)

Rows = Callable[[int, int], Tensor]
"""Rows ``start`` to ``stop`` along the first spatial axis of a volume ``(C, *S)`` that need not exist as a whole."""

SLAB_ELEMENTS = 2**22
"""16 MiB in float32: small enough to stay near a processor; a GPU wants more at once."""


def axis_weights(size: int, new_size: int) -> Tensor:
    r"""How much of each old voxel goes into each new one along an axis: ``(new_size, size)``, float64.

    .. math:: W_{ij} = \frac{1}{w} \int_{c_i - w/2}^{c_i + w/2} \Lambda(t - j) \, dt, \quad w = \max(s - 1, 0)

    with the hat function :math:`\Lambda`, the step :math:`s` = size / new_size and the new voxel centres
    :math:`c_i`. Where the grid becomes finer (:math:`w = 0`) this is linear interpolation; where it becomes
    coarser, the linear interpolant is averaged over the gap between the new voxels, so that structures finer
    than the new grid fade instead of turning into patterns. Both keep a linear ramp exactly.

    Args:
        size: Old number of voxels.
        new_size: New number of voxels over the same length.

    Example:
        >>> axis_weights(4, 2)
        tensor([[0.5000, 0.5000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    step = size / new_size
    centres = (torch.arange(new_size, dtype=torch.float64) + 0.5) * step - 0.5
    old = torch.arange(size, dtype=torch.float64)
    if step <= 1:
        # beyond the outermost centres the border value goes on
        offset = centres.clamp(0, size - 1)[:, None] - old
        return (1 - offset.abs()).clamp(min=0)
    half = (step - 1) / 2
    offset = centres[:, None] - old
    return (_hat_integral(offset + half) - _hat_integral(offset - half)) / (2 * half)


def resample(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Resample to another number of voxels over the same field of view.

    Args:
        x: ``(C, *S)``, floating point.
        shape: New ``*S``.

    Returns:
        ``(C, *shape)`` float32, on the device of ``x``.
    """
    x = x.float()
    for axis, new_size in enumerate(shape, start=1):
        x = _along(x, axis, new_size)
    return x


def resample_slabs(
    x: Tensor, shape: Sequence[int], slab_elements: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """The slabs of ``resample(x, shape)`` along its first axis, one after the other.

    Args:
        x: ``(C, *S)``, any floating type; converted slab by slab.
        shape: New ``*S``.
        slab_elements: About how many values a slab has; ``None``: ``SLAB_ELEMENTS``.

    Yields:
        The place of the slab along the first spatial axis, and the slab ``(C, n, *shape[1:])`` in float32.
    """
    return resample_rows(lambda start, stop: x[:, start:stop], x.shape, shape, slab_elements)


def resample_rows(
    rows: Rows, size: Sequence[int], shape: Sequence[int], slab_elements: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """As :func:`resample_slabs`, of a volume whose rows are made when they are asked for.

    Neither end of the rows that are asked for ever goes back, and they are at most ``rows_at_once`` of them.

    Args:
        rows: Gives rows of the volume, any floating type.
        size: ``(C, *S)`` of that volume.
        shape: New ``*S``.
        slab_elements: About how many values a slab has.
    """
    count = _slab_rows(size, shape, slab_elements)
    first = None if size[1] == shape[0] else axis_weights(size[1], shape[0])
    others = {
        axis: axis_weights(size[axis], new_size)
        for axis, new_size in enumerate(shape[1:], start=2)
        if size[axis] != new_size
    }
    for start in range(0, shape[0], count):
        place = slice(start, min(start + count, shape[0]))
        slab = _source_rows(rows, place, first)
        for axis, weights in others.items():
            slab = _matrix(slab, axis, weights)
        yield place, slab


def rows_at_once(size: Sequence[int], shape: Sequence[int], slab_elements: int | None = None) -> int:
    """The most rows that :func:`resample_rows` asks for at once.

    Example:
        >>> rows_at_once((1, 100, 8, 8), (200, 8, 8), slab_elements=640)
        8
    """
    # the footprint of n new voxels: n steps, one old voxel on each side, and one for each broken end
    step = size[1] / shape[0]
    count = _slab_rows(size, shape, slab_elements)
    return count if step == 1 else min(size[1], int(count * step + max(step, 1)) + 2)


def _slab_rows(size: Sequence[int], shape: Sequence[int], slab_elements: int | None) -> int:
    per_row = max(1, _product(size[:1]) * max(_product(size[2:]), _product(shape[1:])))
    return min(shape[0], max(1, (slab_elements or SLAB_ELEMENTS) // per_row))


def resample_labels(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """Resample a label map: each new voxel takes the label that fills most of it; no new values appear.

    On a tie the label at the centre of the new voxel wins, so that structures neither grow nor shrink. One
    class is in memory at a time.

    Args:
        labels: ``(1, *S)`` of any integer type.
        shape: New ``*S``.

    Returns:
        ``(1, *shape)`` of the same type.
    """
    if tuple(labels.shape[1:]) == tuple(shape):
        return labels
    result = central = _nearest(labels, shape)
    best = torch.zeros((1, *shape), device=labels.device)
    for value in labels.unique():
        share = resample(labels == value, shape)
        wins = (share > best) | ((share == best) & (central == value))
        result = torch.where(wins, value, result)
        best = torch.maximum(best, share)
    return result


def resample_nearest(values: npt.NDArray[Number], shape: Sequence[int]) -> npt.NDArray[Number]:
    """Resample numbers of objects: each new voxel takes the number at its centre, whatever they are and how many.

    Args:
        values: ``(C, *S)``.
        shape: New ``*S``.

    Example:
        >>> resample_nearest(np.array([[3, 3, 70_000, 70_000]]), (2,))
        array([[    3, 70000]])
    """
    for axis, new_size in enumerate(shape, start=1):
        if values.shape[axis] != new_size:
            centres = (np.arange(new_size) + 0.5) * (values.shape[axis] / new_size)
            values = values.take(centres.astype(np.intp), axis)
    return values


def _nearest(labels: Tensor, shape: Sequence[int]) -> Tensor:
    for axis, new_size in enumerate(shape, start=1):
        centres = (torch.arange(new_size, device=labels.device) + 0.5) * (labels.shape[axis] / new_size)
        labels = labels.index_select(axis, centres.long())
    return labels


def _source_rows(rows: Rows, place: slice, weights: Tensor | None) -> Tensor:
    """Some rows of the new grid along its first spatial axis, from those old rows that they need."""
    if weights is None:
        return rows(place.start, place.stop).float()
    weights = weights[place]
    needed = weights.any(dim=0).nonzero()
    start, stop = int(needed[0]), int(needed[-1]) + 1
    return _matrix(rows(start, stop).float(), 1, weights[:, start:stop])


def _along(x: Tensor, axis: int, new_size: int) -> Tensor:
    if x.shape[axis] == new_size:
        return x
    return _matrix(x, axis, axis_weights(x.shape[axis], new_size))


def _matrix(x: Tensor, axis: int, weights: Tensor) -> Tensor:
    # as (before, axis, after), so that no axis has to be moved in memory
    shape = (*x.shape[:axis], len(weights), *x.shape[axis + 1 :])
    stacked = x.reshape(_product(x.shape[:axis]), x.shape[axis], _product(x.shape[axis + 1 :]))
    # a validation step in mixed precision would multiply in bfloat16
    with torch.autocast(x.device.type, enabled=False):
        if axis == x.ndim - 1:
            return (stacked[..., 0] @ weights.T.to(x)).reshape(shape)
        return torch.matmul(weights.to(x), stacked).reshape(shape)


def _hat_integral(t: Tensor) -> Tensor:
    """The integral of the hat function from minus infinity to ``t``."""
    t = t.clamp(-1, 1)
    return torch.where(t < 0, (1 + t) ** 2 / 2, 1 - (1 - t) ** 2 / 2)


def _product(sizes: Sequence[int]) -> int:
    return int(torch.Size(sizes).numel())
