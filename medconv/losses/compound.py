"""Sums of losses; first of all Dice plus cross-entropy, the pair that wins most segmentation challenges.

Source: Isensee et al., "nnU-Net", Nature Methods 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.losses.base import Loss
from medconv.losses.cross_entropy import CrossEntropyLoss
from medconv.losses.dice import DiceLoss
from medconv.losses.scores import Scores


class DiceCrossEntropyLoss(Loss):
    r"""Weighted sum of ``DiceLoss`` and ``CrossEntropyLoss`` over one log-softmax.

    .. math:: L = w_D L_{Dice} + w_C L_{CE}

    Cross-entropy gives every voxel a gradient from the first step, Dice keeps small structures from being
    drowned by background. The defaults are nnU-Net's.

    Args:
        dice_weight: Factor of the Dice term.
        cross_entropy_weight: Factor of the cross-entropy term.
        batch_dice: See ``DiceLoss.batch``.
        squared: See ``DiceLoss``.
        include_background: Whether class 0 counts in the Dice term (it always counts in cross-entropy).
        smooth: See ``DiceLoss``, in voxels.
        class_weights: See ``CrossEntropyLoss``.
        label_smoothing: See ``CrossEntropyLoss``.

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: A weight is negative or both are 0, or a part refuses its settings.

    Example:
        >>> import torch
        >>> loss = DiceCrossEntropyLoss()
        >>> loss(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4).long()).dtype
        torch.float32
    """

    def __init__(
        self,
        *,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        batch_dice: bool = False,
        squared: bool = False,
        include_background: bool = False,
        smooth: float = 1e-5,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if min(dice_weight, cross_entropy_weight) < 0 or dice_weight + cross_entropy_weight == 0:
            raise ConfigError(
                "expected dice_weight and cross_entropy_weight that are not negative and not both 0, "
                f"got {dice_weight} and {cross_entropy_weight}"
            )
        self.dice_weight = dice_weight
        self.cross_entropy_weight = cross_entropy_weight
        self.dice = DiceLoss(
            batch=batch_dice, include_background=include_background, squared=squared, smooth=smooth
        )
        self.cross_entropy = CrossEntropyLoss(class_weights=class_weights, label_smoothing=label_smoothing)

    def of_scores(self, scores: Scores) -> Tensor:
        """See ``Loss.of_scores``."""
        dice, cross_entropy = self.dice.of_scores(scores), self.cross_entropy.of_scores(scores)
        return self.dice_weight * dice + self.cross_entropy_weight * cross_entropy

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        return f"dice_weight={self.dice_weight}, cross_entropy_weight={self.cross_entropy_weight}"


class CompoundLoss(Loss):
    r"""Weighted sum of any losses over one softmax.

    .. math:: L = \sum_i w_i L_i

    Args:
        losses: The parts.
        weights: One non-negative number a part, not all 0; ``None``: 1 each.

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: No part, or weights that do not fit.

    Example:
        >>> import torch
        >>> from medconv.losses import FocalLoss
        >>> loss = CompoundLoss([DiceLoss(batch=True), FocalLoss()], [1.0, 0.5])
        >>> loss(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4).long()).shape
        torch.Size([])
    """

    def __init__(self, losses: Sequence[Loss], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(1.0 for _ in losses) if weights is None else tuple(map(float, weights))
        if len(self.weights) != len(losses) or min(self.weights, default=-1) < 0 or not any(self.weights):
            raise ConfigError(
                "expected at least one loss, and weights that are one a loss, not negative and not all 0; "
                f"got {len(losses)} losses and weights {list(self.weights)}"
            )

    def of_scores(self, scores: Scores) -> Tensor:
        """See ``Loss.of_scores``."""
        total = scores.log_probs.new_zeros(())
        for weight, loss in zip(self.weights, self.losses, strict=True):
            assert isinstance(loss, Loss)
            if weight:
                total = total + weight * loss.of_scores(scores)
        return total

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        return f"weights={list(self.weights)}"
