"""Soft Dice: overlap of probabilities with the truth, blind to how large a structure is.

Source: Milletari et al., "V-Net", 3DV 2016; in the form of Isensee et al., "nnU-Net", Nature Methods 2021.
"""

from __future__ import annotations

from torch import Tensor

from medconv.errors import ConfigError
from medconv.losses.base import Loss
from medconv.losses.scores import Scores


class DiceLoss(Loss):
    r"""One minus the mean soft Dice of the classes.

    .. math:: L = 1 - \frac1{|C|} \sum_{k \in C} \frac{2 \sum_p y_k q_k + s}{\sum_p y_k + \sum_p q_k + s}

    with probabilities :math:`q`, truth :math:`y` and smoothing :math:`s`; ``squared`` takes :math:`q^2` below the
    fraction line (V-Net's form), which punishes unsure voxels less. Use it for small structures, where
    cross-entropy is satisfied with background; alone it is noisy at the start, so prefer
    ``DiceCrossEntropyLoss``.

    A class that is absent from the truth counts: any probability given to it brings its term close to 1. That
    is the price of a false alarm; with ``batch=True`` it is paid only when the class is absent from the whole
    batch.

    Args:
        batch: Sum over the batch before dividing (one Dice per class) instead of a Dice per sample and class.
            In distributed training "batch" means that of one process.
        include_background: Whether class 0 is averaged with the others.
        squared: Sum the squares of the probabilities in the denominator.
        smooth: Added to numerator and denominator, in voxels.

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: ``smooth`` is not positive: an empty class would be 0 / 0.

    Cost:
        One exponential and one sum over the probabilities and ``K`` masked sums over the voxels.

    Example:
        >>> import torch
        >>> target = torch.tensor([[[[0, 1], [1, 0]]]])
        >>> logits = 50.0 * torch.nn.functional.one_hot(target[:, 0]).movedim(-1, 1)
        >>> round(DiceLoss()(logits, target).item(), 6), round(DiceLoss()(-logits, target).item(), 4)
        (0.0, 1.0)
    """

    def __init__(
        self,
        *,
        batch: bool = False,
        include_background: bool = False,
        squared: bool = False,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__()
        if smooth <= 0:
            raise ConfigError(f"expected a positive smooth (in voxels), got {smooth}")
        self.batch = batch
        self.include_background = include_background
        self.squared = squared
        self.smooth = smooth

    def of_scores(self, scores: Scores) -> Tensor:
        """See ``Loss.of_scores``."""
        overlap, truth = scores.overlap(), scores.truth_size()
        probs = scores.probs()
        predicted = (probs.square() if self.squared else probs).flatten(2).sum(2)
        if self.batch:
            overlap, truth, predicted = overlap.sum(0), truth.sum(0), predicted.sum(0)
        score = (2 * overlap + self.smooth) / (truth + predicted + self.smooth)
        return 1 - scores.counted(score, include_background=self.include_background).mean()

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        return (
            f"batch={self.batch}, include_background={self.include_background}, squared={self.squared}, "
            f"smooth={self.smooth}"
        )
