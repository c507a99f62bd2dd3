"""Cross-entropy that looks away from voxels which are already right.

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medconv.errors import ConfigError
from medconv.losses.base import Loss
from medconv.losses.scores import Scores, as_class_weights


class FocalLoss(Loss):
    r"""Cross-entropy times a power of what is missing to certainty.

    .. math:: L = -\frac{\sum_p w_{t(p)} (1 - q_{t(p)}(p))^\gamma \log q_{t(p)}(p)}{\sum_p w_{t(p)}}

    with probabilities :math:`q`, labels :math:`t`, weights :math:`w`. Use it where easy background outweighs a few
    hard voxels; its probabilities are less certain than they should be, so calibrate them before reading them.
    ``gamma=0`` is ``CrossEntropyLoss``. Regions are weighed each by itself, as in ``CrossEntropyLoss``.

    Args:
        gamma: ``0``, or 1 and more; between, the gradient of a certain voxel is infinite.
        class_weights: See ``CrossEntropyLoss``.

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: Another ``gamma``, or weights that are negative or all zero.

    Example:
        >>> round(FocalLoss(gamma=2.0)(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4).long()).item(), 6)
        0.173287
    """

    class_weights: Tensor | None

    def __init__(self, *, gamma: float = 2.0, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if gamma != 0 and not gamma >= 1:
            raise ConfigError(f"expected gamma of 0, or of 1 and more, got {gamma}")
        self.gamma = gamma
        self.register_buffer("class_weights", as_class_weights(class_weights), persistent=False)

    def of_scores(self, scores: Scores) -> Tensor:
        """See ``Loss.of_scores``."""
        right = scores.true_log_probs
        if self.gamma == 0:
            return -scores.weighted(right, self.class_weights)
        missing = -torch.expm1(right)  # 1 - q, exact also where q is nearly 1
        return -scores.weighted(missing**self.gamma * right, self.class_weights)

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        weights = None if self.class_weights is None else self.class_weights.tolist()
        return f"gamma={self.gamma}, class_weights={weights}"
