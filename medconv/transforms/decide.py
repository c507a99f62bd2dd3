"""From scores to labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def decide(scores: Tensor, regions_class_order: Sequence[int] = ()) -> Tensor:
    """The label of each voxel: the class with the largest score, or what the last likely region writes.

    Args:
        scores: ``(K, *S)``: logits of classes, or of regions, where 0 is a probability of one half.
        regions_class_order: The label that each region writes, later ones over earlier ones; none: classes.

    Shape:
        - Output ``(*S)`` int64.

    Example:
        >>> decide(torch.tensor([[2.0, 2.0, -1.0], [1.0, -3.0, -1.0]]), (1, 2))
        tensor([2, 1, 0])
    """
    if not regions_class_order:
        # max is several times faster than argmax over the first axis
        return scores.max(dim=0).indices
    labels = torch.zeros(scores.shape[1:], dtype=torch.int64, device=scores.device)
    for region, label in zip(scores, regions_class_order, strict=True):
        labels = torch.where(region > 0, label, labels)
    return labels
