"""Soft Dice that prices false alarms and misses differently.

Source: Salehi et al., "Tversky Loss Function for Image Segmentation", MLMI 2017.
"""

from __future__ import annotations

from torch import Tensor

from medconv.errors import ConfigError
from medconv.losses.base import Loss
from medconv.losses.scores import Scores


class TverskyLoss(Loss):
    r"""One minus the mean soft Tversky index of the classes.

    .. math::
        L = 1 - \frac1{|C|} \sum_{k \in C}
            \frac{\sum_p y_k q_k + s}{\sum_p y_k q_k + \alpha \sum_p (1 - y_k) q_k + \beta \sum_p y_k (1 - q_k) + s}

    with probabilities :math:`q`, truth :math:`y`, prices :math:`\alpha` of false alarms and :math:`\beta` of misses.
    Raise ``beta`` where small lesions are missed. ``alpha=beta=0.5`` is ``DiceLoss`` with twice the smoothing.

    Args:
        alpha: Price of a voxel wrongly taken in.
        beta: Price of a voxel left out.
        batch: See ``DiceLoss``.
        include_background: See ``DiceLoss``.
        smooth: See ``DiceLoss``, in voxels.

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: A price that is not positive, or ``smooth`` that is not.

    Example:
        >>> import torch
        >>> round(TverskyLoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4).long()).item(), 4)
        0.4118
    """

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        batch: bool = False,
        include_background: bool = False,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__()
        if min(alpha, beta, smooth) <= 0:
            raise ConfigError(f"expected positive alpha, beta and smooth, got {alpha}, {beta} and {smooth}")
        self.alpha, self.beta = alpha, beta
        self.batch, self.include_background, self.smooth = batch, include_background, smooth

    def of_scores(self, scores: Scores) -> Tensor:
        """See ``Loss.of_scores``."""
        overlap, truth, predicted = scores.overlap(), scores.truth_size(), scores.probs().flatten(2).sum(2)
        if self.batch:
            overlap, truth, predicted = overlap.sum(0), truth.sum(0), predicted.sum(0)
        wrong = self.alpha * (predicted - overlap) + self.beta * (truth - overlap)
        score = (overlap + self.smooth) / (overlap + wrong + self.smooth)
        return 1 - scores.counted(score, include_background=self.include_background).mean()

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        return (
            f"alpha={self.alpha}, beta={self.beta}, batch={self.batch}, "
            f"include_background={self.include_background}, smooth={self.smooth}"
        )
