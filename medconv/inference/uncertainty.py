"""Where the networks do not agree with themselves or each other."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


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
