"""Linear resampling over the same field of view, one axis at a time, without aliasing.

Each axis is one small matrix, so that volumes, labels and class scores are resampled by the same few lines, a
ramp stays a ramp, and class scores can be made slab by slab without ever existing as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

_SLAB_ELEMENTS = 2**22
"""16 MiB in float32: small enough to stay near the processor, large enough to keep a GPU busy."""


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


def resample_slabs(x: Tensor, shape: Sequence[int]) -> Iterator[tuple[slice, Tensor]]:
    """The slabs of ``resample(x, shape)`` along its first axis, one after the other.

    Args:
        x: ``(C, *S)``, any floating type; converted slab by slab.
        shape: New ``*S``.

    Yields:
        The place of the slab along the first spatial axis, and the slab ``(C, n, *shape[1:])`` in float32.
    """
    rows = max(1, _SLAB_ELEMENTS // max(1, x[:, 0].numel(), len(x) * _product(shape[1:])))
    for start in range(0, shape[0], rows):
        place = slice(start, min(start + rows, shape[0]))
        slab = _rows(x, place, shape[0])
        for axis, new_size in enumerate(shape[1:], start=2):
            slab = _along(slab, axis, new_size)
        yield place, slab


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


def _nearest(labels: Tensor, shape: Sequence[int]) -> Tensor:
    for axis, new_size in enumerate(shape, start=1):
        centres = (torch.arange(new_size, device=labels.device) + 0.5) * (labels.shape[axis] / new_size)
        labels = labels.index_select(axis, centres.long())
    return labels


def _rows(x: Tensor, place: slice, new_size: int) -> Tensor:
    """Some rows of ``x`` resampled along its first spatial axis, from those old rows that they need."""
    if x.shape[1] == new_size:
        return x[:, place].float()
    weights = axis_weights(x.shape[1], new_size)[place]
    needed = weights.any(dim=0).nonzero()
    source = slice(int(needed[0]), int(needed[-1]) + 1)
    return _matrix(x[:, source].float(), 1, weights[:, source])


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
