"""Where the networks do not agree with themselves or each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def entropy_map(
    probabilities: npt.NDArray[np.floating], regions_class_order: Sequence[int] = ()
) -> npt.NDArray[np.float32]:
    """How undecided each voxel is: :func:`normalised_entropy` of classes, :func:`region_entropy` of regions.

    Args:
        probabilities: ``(K, *S)``.
        regions_class_order: The label that each region writes; none: they are classes.
    """
    return region_entropy(probabilities) if regions_class_order else normalised_entropy(probabilities)


def normalised_entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    r"""Entropy of the class probabilities in each voxel as a share of the largest possible.

    .. math:: H = -\frac{1}{\ln K} \sum_k p_k \ln p_k

    0 where one class is certain, 1 where all are equally likely. It knows only what the networks express:
    give it an ensemble rather than one network, whose own confidence is often too high.

    Args:
        probabilities: ``(K, *S)``, at least two classes; rounded ones need not sum to 1 exactly.

    Returns:
        ``(*S)`` float32, from 0 to 1.

    Cost:
        Slice by slice: one slice of all classes in float32 beside the result.

    Example:
        >>> normalised_entropy(np.array([[[1.0, 0.5]], [[0.0, 0.5]]])).tolist()
        [[0.0, 1.0]]
    """
    entropy = np.empty(probabilities.shape[1:], np.float32)
    for index in range(len(entropy)):
        shares = probabilities[:, index].astype(np.float32)
        # the limit of p ln p at 0 is 0
        logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        entropy[index] = (shares * logarithms).sum(axis=0) / -math.log(len(shares)) + 0.0  # no -0
    return np.clip(entropy, 0, 1, out=entropy)


def region_entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    r"""Entropy of the least certain region in each voxel, in bits.

    .. math:: H = \max_r \; -p_r \log_2 p_r - (1 - p_r) \log_2 (1 - p_r)

    Regions overlap, so their probabilities are no shares of one; each is a question of its own, inside or not.
    0 where every answer is certain, 1 where one is open.

    Args:
        probabilities: ``(R, *S)``, of each region.

    Returns:
        ``(*S)`` float32, from 0 to 1.

    Cost:
        As :func:`normalised_entropy`.

    Example:
        >>> region_entropy(np.array([[[1.0, 1.0, 0.0]], [[1.0, 0.5, 0.0]]])).tolist()
        [[0.0, 1.0, 0.0]]
    """
    entropy = np.empty(probabilities.shape[1:], np.float32)
    for index in range(len(entropy)):
        inside = probabilities[:, index].astype(np.float32).clip(0, 1)
        # binary entropy grows with the distance from certainty, so the region nearest to one half decides
        nearest = np.minimum(inside, 1 - inside).max(axis=0)
        entropy[index] = normalised_entropy(np.stack([nearest, 1 - nearest])[:, None])[0]
    return entropy
