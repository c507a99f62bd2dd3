"""Cross-entropy over voxels, with class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medconv.errors import ConfigError, ShapeError
from medconv.losses.base import Loss


class CrossEntropyLoss(Loss):
    r"""Mean negative log-probability of the true class.

    .. math::
        L = -\frac{\sum_p (1 - \epsilon) w_{t(p)} \ell_{t(p)}(p) + \frac{\epsilon}{K} \sum_k w_k \ell_k(p)}
                  {\sum_p w_{t(p)}}

    with log-probabilities :math:`\ell`, labels :math:`t`, weights :math:`w` and smoothing :math:`\epsilon`.
    It gives the same number as ``torch.nn.functional.cross_entropy``, which on CUDA has no deterministic form
    for images. Use it where every voxel should count alike and probabilities should be calibrated; for small
    structures add ``DiceLoss``.

    Args:
        class_weights: One non-negative number a class, background first; ``None``: all alike.
        label_smoothing: Share of the truth spread evenly over the classes, 0 to below 1.

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: Weights that are negative or all zero, or smoothing outside [0, 1).
        ShapeError: At call time: as many weights as classes are expected.

    Example:
        >>> round(CrossEntropyLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4).long()).item(), 6)
        0.693147
    """

    class_weights: Tensor | None

    def __init__(self, *, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"expected label_smoothing from 0 to below 1, got {label_smoothing}")
        if class_weights is not None and (min(class_weights, default=0) < 0 or not any(class_weights)):
            raise ConfigError(
                f"expected class_weights that are not negative and not all 0, got {list(class_weights)}"
            )
        self.label_smoothing = label_smoothing
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        # a setting, not a learned state: it lives in the config, not in the checkpoint's weights
        self.register_buffer("class_weights", weights, persistent=False)

    def of_log_probs(self, log_probs: Tensor, true_log_probs: Tensor, target: Tensor) -> Tensor:
        """See ``Loss.of_log_probs``."""
        weights = self._weights(log_probs)
        true_weights = weights[target]
        total = (true_weights * true_log_probs).sum()
        if self.label_smoothing:
            per_class = weights.view(1, -1, *[1] * (log_probs.dim() - 2))
            spread = (per_class * log_probs).sum() / log_probs.shape[1]
            total = (1 - self.label_smoothing) * total + self.label_smoothing * spread
        return -total / true_weights.sum()

    def _weights(self, log_probs: Tensor) -> Tensor:
        if self.class_weights is None:
            return log_probs.new_ones(log_probs.shape[1])
        if len(self.class_weights) != log_probs.shape[1]:
            raise ShapeError(
                f"expected {log_probs.shape[1]} class_weights (one a class, background first), "
                f"got {len(self.class_weights)}"
            )
        return self.class_weights.to(log_probs.dtype)

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        weights = None if self.class_weights is None else self.class_weights.tolist()
        return f"class_weights={weights}, label_smoothing={self.label_smoothing}"
