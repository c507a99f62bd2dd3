"""Gathering and summing by label without a one-hot copy of the labels, equal on every run.

PyTorch's own ways do not serve here: ``nll_loss`` refuses to be deterministic on CUDA for images, the
backward pass of ``gather`` is a scatter-add that deterministic mode sorts first, and a float one-hot is as
large as the logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pick_class(values: Tensor, target: Tensor) -> Tensor:
    """The value of each voxel's own class: ``y[b, 0, p] = values[b, target[b, 0, p], p]``.

    Args:
        values: Any floating type.
        target: int64 labels below ``K``.

    Shape:
        - ``values`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output ``(B, 1, *S)``.

    Example:
        >>> pick_class(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[1, 0]]]))
        tensor([[[3., 2.]]])
    """
    picked: Tensor = _PickClass.apply(values, target)
    return picked


def sum_by_class(values: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Sum of ``values`` over the voxels of each class: ``y[b, k] = sum of values[b, 0, p] where target = k``.

    Shape:
        - ``values`` and ``target`` ``(B, 1, *S)``; output ``(B, K)``.

    Example:
        >>> sum_by_class(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[1, 0, 1]]]), num_classes=3)
        tensor([[2., 5., 0.]])
    """
    sums: Tensor = _SumByClass.apply(values, target, num_classes)
    return sums


class _PickClass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(target)
        ctx.num_classes = values.shape[1]
        return values.gather(1, target)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (target,) = ctx.saved_tensors
        (grad,) = grads
        shape = (target.shape[0], ctx.num_classes, *target.shape[2:])
        if grad.is_cuda:
            # deterministic mode would sort before it scatters; each voxel has one class, so a comparison will
            # do
            classes = torch.arange(ctx.num_classes, device=grad.device).view(1, -1, *[1] * (len(shape) - 2))
            return torch.where(target == classes, grad, 0.0), None
        return grad.new_zeros(shape).scatter(1, target, grad), None


class _SumByClass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, target: Tensor, num_classes: int) -> Tensor:
        ctx.save_for_backward(target)
        flat, labels = values.flatten(1), target.flatten(1)
        if values.is_cuda:
            # one masked sum a class: tree reductions are reproducible, atomic additions are not, and here all
            # of them would meet on K addresses
            return torch.stack(
                [torch.where(labels == k, flat, 0.0).sum(1) for k in range(num_classes)], dim=1
            )
        # one pass for all classes; float64, since adding a voxel at a time to a large float32 sum loses it
        sums = torch.zeros(len(flat), num_classes, dtype=torch.float64, device=flat.device)
        return sums.scatter_add(1, labels, flat.double()).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (target,) = ctx.saved_tensors
        (grad,) = grads
        return grad.gather(1, target.flatten(1)).view(target.shape), None, None
