"""Cross-entropy over voxels, with class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medconv.errors import ConfigError
from medconv.losses.base import Loss
from medconv.losses.scores import Scores, as_class_weights


class CrossEntropyLoss(Loss):
    r"""Mean negative log-probability of the true class.

    .. math::
        L = -\frac{\sum_p (1 - \epsilon) w_{t(p)} \ell_{t(p)}(p) + \frac{\epsilon}{K} \sum_k w_k \ell_k(p)}
                  {\sum_p w_{t(p)}}

    with log-probabilities :math:`\ell`, labels :math:`t`, weights :math:`w` and smoothing :math:`\epsilon`.
    It gives the same number as ``torch.nn.functional.cross_entropy``, which on CUDA has no deterministic form
    for images. Use it where every voxel should count alike and probabilities should be calibrated; for small
    structures add ``DiceLoss``. For regions it is the binary cross-entropy, mean over voxels and regions.

    Args:
        class_weights: One non-negative number a class, background first (a region); ``None``: all alike.
        label_smoothing: Share of the truth spread evenly over the classes, 0 to below 1.

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: Weights that are negative or all zero, or smoothing outside [0, 1).
        ShapeError: At call time: as many weights as classes are expected.

    Example:
        >>> import torch
        >>> round(CrossEntropyLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4).long()).item(), 6)
        0.693147
    """

    class_weights: Tensor | None

    def __init__(self, *, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"expected label_smoothing from 0 to below 1, got {label_smoothing}")
        self.label_smoothing = label_smoothing
        # a setting, not a learned state: it lives in the config, not in the checkpoint's weights
        self.register_buffer("class_weights", as_class_weights(class_weights), persistent=False)

    def of_scores(self, scores: Scores) -> Tensor:
        """See ``Loss.of_scores``."""
        if self.label_smoothing:
            return scores.smoothed_loss(self.label_smoothing, self.class_weights)
        return -scores.weighted(scores.true_log_probs, self.class_weights)

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        weights = None if self.class_weights is None else self.class_weights.tolist()
        return f"class_weights={weights}, label_smoothing={self.label_smoothing}"
