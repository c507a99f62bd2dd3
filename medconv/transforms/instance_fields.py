"""What a network says about single objects, whatever it was taught: where they are, and how near to their middle."""

from __future__ import annotations

import torch
from torch import Tensor

from medconv.errors import ShapeError
from medconv.planning import InstanceTarget


def instance_fields(scores: Tensor, target: InstanceTarget) -> Tensor:
    r"""The probability of the foreground, and the height: how near a voxel is to the middle of its object.

    .. math:: f = \sigma(z_1), \quad h = \frac1L \sum_k \sigma(z_k) \qquad \text{or} \qquad f = p_1 + p_2, \quad h = p_1

    for shells by distance, where ``h`` is the expected relative distance to the rim, and for inside and rim.

    Args:
        scores: ``(K, *S)``, logits of the plan's regions or classes.
        target: What the network was taught.

    Shape:
        - Output ``(2, *S)`` float32, both from 0 to 1.

    Raises:
        ShapeError: Another number of scores.

    Example:
        >>> fields = instance_fields(torch.tensor([[9.0], [9.0], [-9.0]]), InstanceTarget(levels=3))
        >>> [round(float(field), 2) for field in fields]
        [1.0, 0.67]
    """
    expected = len(target.regions) or target.num_labels
    if len(scores) != expected:
        raise ShapeError(f"expected scores (K, *S) with K {expected} for {target}, got {tuple(scores.shape)}")
    if target.kind == "boundary":
        shares = scores.float().softmax(dim=0)
        return torch.stack([shares[1] + shares[2], shares[1]])
    shares = scores.float().sigmoid()
    return torch.stack([shares[0], shares.mean(dim=0)])
