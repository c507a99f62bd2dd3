"""The same loss on every resolution of the decoder.

Source: Lee et al., "Deeply-Supervised Nets", AISTATS 2015; weights of Isensee et al., "nnU-Net", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medconv.errors import ShapeError
from medconv.losses.base import Loss


class DeepSupervisionLoss(nn.Module):
    r"""Weighted mean of a loss over the outputs of a decoder, full resolution first.

    .. math:: L = \sum_i w_i \, L(z_i, t_i), \qquad w_i = 2^{-i} / \sum_j 2^{-j}

    The target :math:`t_i` is what most voxels under a voxel of output :math:`z_i` are (see
    ``coarser_labels``). A plain tensor, as a network
    gives in evaluation mode or without auxiliary heads, goes through the loss unchanged. It is no ``Loss``
    itself, since it takes a list.

    Args:
        loss: Applied to every output.
        drop_lowest: Give the lowest resolution weight 0. nnU-Net's networks have a head at every decoder
            stage and its rule drops the lowest; use ``True`` with such a network, ``False`` where that head
            is not built.
        regions: The labels of each region, where the network answers for regions; ``None``: for classes.
        num_labels: Labels that a target may hold, background included, without the ignore label; needed where some
            belong to no region. ``None``: the outputs and the regions name them all.
        ignore_label: The label of voxels whose truth is not known; ``None``: all are known.
        spacing_mm: Voxel edge lengths at full resolution, for losses that measure distances.

    Shape:
        - ``outputs``: ``(B, K, *S)``, or a list of ``(B, K, *S_i)`` with ``S_0 = S``.
        - ``target``: ``(B, 1, *S)``, integer.

    Raises:
        ShapeError: The list is empty, or its first output has not the target's size.

    Example:
        >>> from medconv.losses import DiceCrossEntropyLoss
        >>> loss = DeepSupervisionLoss(DiceCrossEntropyLoss())
        >>> outputs = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)]
        >>> bool(loss(outputs, torch.zeros(1, 1, 8, 8).long()) > 0), loss.weights(3)
        (True, (0.5714285714285714, 0.2857142857142857, 0.14285714285714285))
    """

    def __init__(
        self,
        loss: Loss,
        *,
        drop_lowest: bool = False,
        regions: Sequence[Sequence[int]] | None = None,
        num_labels: int | None = None,
        ignore_label: int | None = None,
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.drop_lowest = drop_lowest
        self.regions, self.num_labels = regions, num_labels
        self.ignore_label, self.spacing_mm = ignore_label, spacing_mm

    def weights(self, num_outputs: int) -> tuple[float, ...]:
        """The weights of so many outputs; they sum to 1. An only output is never dropped."""
        raw = [0.5**i for i in range(num_outputs)]
        if self.drop_lowest and num_outputs > 1:
            raw[-1] = 0.0
        return tuple(w / sum(raw) for w in raw)

    def forward(self, outputs: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """The weighted mean, as a scalar."""
        if isinstance(outputs, Tensor):
            outputs = [outputs]
        if not outputs or outputs[0].shape[2:] != target.shape[2:]:
            sizes = [tuple(o.shape[2:]) for o in outputs]
            raise ShapeError(
                f"expected outputs with the full resolution first and a target of its size, "
                f"{tuple(target.shape[2:])}; got {sizes or 'an empty list'}"
            )
        terms = [
            weight * self._compare(output, target) if weight else _keep_in_graph(output)
            for weight, output in zip(self.weights(len(outputs)), outputs, strict=True)
        ]
        return torch.stack(terms).sum()

    def _compare(self, output: Tensor, target: Tensor) -> Tensor:
        seen = coarser_labels(target, output.shape[2:], self._num_values(output.shape[1]))
        valid = None
        if self.ignore_label is not None:
            valid = seen != self.ignore_label
            seen = torch.where(valid, seen, 0)
        spacing_mm = self.spacing_mm
        if spacing_mm is not None:
            sizes = zip(spacing_mm, target.shape[2:], output.shape[2:], strict=True)
            spacing_mm = [mm * fine / coarse for mm, fine, coarse in sizes]
        return self.loss(output, seen, valid=valid, regions=self.regions, spacing_mm=spacing_mm)

    def _num_values(self, num_outputs: int) -> int:
        # a label outside all regions outvotes those inside: what is not counted would hand its voxels to them
        members = (k for region in self.regions or () for k in region)
        return 1 + max(num_outputs - 1, (self.num_labels or 0) - 1, self.ignore_label or 0, *members)

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        return f"drop_lowest={self.drop_lowest}"


def coarser_labels(labels: Tensor, size: Sequence[int], num_classes: int) -> Tensor:
    """Labels on a coarser grid: the commonest value of each cell, the smaller one of two equally common.

    Sampling one voxel of an even cell would take the same corner everywhere, half a fine voxel off the centre: a
    shift that pooling and linear upsampling cannot follow, and a symmetric network not even learn. The commonest
    value commutes with every rotation and reflection. Where sizes do not divide, ``sample_nearest`` stands in.

    Args:
        labels: Integers below ``num_classes``.
        size: Spatial size of the result.
        num_classes: ``K``.

    Shape:
        - ``labels`` ``(B, 1, *S)``; output ``(B, 1, *size)``.

    Cost:
        One comparison and one sum over the labels for each class.

    Example:
        >>> coarser_labels(torch.tensor([[[[0, 1, 2, 2], [1, 1, 0, 2]]]]), (1, 2), 3)
        tensor([[[[1, 2]]]])
    """
    ratios = [old // new for new, old in zip(size, labels.shape[2:], strict=True)]
    if any(new * ratio != old for new, ratio, old in zip(size, ratios, labels.shape[2:], strict=True)):
        return sample_nearest(labels, size)
    if all(ratio == 1 for ratio in ratios):
        return labels
    cells = labels.reshape(*labels.shape[:2], *(n for pair in zip(size, ratios, strict=True) for n in pair))
    within = tuple(range(3, 3 + 2 * len(ratios), 2))
    most = (cells == 0).sum(within, dtype=torch.int32)
    commonest = torch.zeros_like(most, dtype=labels.dtype)
    for k in range(1, num_classes):
        number = (cells == k).sum(within, dtype=torch.int32)
        commonest = torch.where(number > most, k, commonest)
        most = torch.maximum(number, most)
    return commonest


def sample_nearest(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels on a coarser (or finer) grid over the same field: the value at the voxel under each new centre.

    It equals ``interpolate(mode="nearest-exact")`` and takes any integer type.

    Shape:
        - ``labels`` ``(B, 1, *S)``; output ``(B, 1, *size)``.

    Example:
        >>> sample_nearest(torch.tensor([[[0, 1, 2, 3, 4, 5]]]), (3,))
        tensor([[[1, 3, 5]]])
    """
    for axis, (new, old) in enumerate(zip(size, labels.shape[2:], strict=True), start=2):
        if new != old:
            # (2 i + 1) old / (2 new) is (i + 0.5) old / new in whole numbers: no rounding to go wrong
            index = (2 * torch.arange(new, device=labels.device) + 1) * old // (2 * new)
            labels = labels.index_select(axis, index)
    return labels


def _keep_in_graph(output: Tensor) -> Tensor:
    # a head without a gradient stops distributed training at the second step; zeros are a gradient
    return 0.0 * output.float().mean()
