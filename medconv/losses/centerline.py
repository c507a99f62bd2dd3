"""Overlap of centrelines: a vessel cut in two costs more than one drawn too thin.

Source: Shit et al., "clDice: a Novel Topology-Preserving Loss Function for Tubular Structure Segmentation", CVPR 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from medconv.errors import ConfigError
from medconv.losses.base import Loss
from medconv.losses.dice import DiceLoss
from medconv.losses.scores import Scores


class CenterlineDiceLoss(Loss):
    r"""Soft Dice mixed with soft clDice, the harmonic mean of two overlaps with skeletons.

    .. math::
        L = (1 - \alpha) L_{Dice} + \alpha \left(1 - \frac1{|C|} \sum_{k \in C} \frac{2 T P}{T + P}\right), \quad
        T = \frac{\sum S(q) y + 1}{\sum S(q) + 1}, \;
        P = \frac{\sum S(y) q + 1}{\sum S(y) + 1}

    with the soft skeleton :math:`S`. For vessels, airways, neurites and other thin structures whose connectedness
    matters; elsewhere it is a slow Dice.

    Args:
        alpha: Share of clDice, 0 to 1; the paper's figures are at 0.1 to 0.5.
        iterations: Erosions of the skeleton: the largest radius of a structure, in voxels.
        include_background: Whether class 0 is averaged with the others.

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: A share outside 0 to 1, or no iteration.

    Cost:
        For each iteration about ``10 d`` passes over the probabilities, all kept for the backward pass: several times
        the memory of ``DiceLoss``.

    Example:
        >>> target = torch.zeros(1, 1, 8, 8).long()
        >>> target[..., 3:6, :] = 1
        >>> logits = 40.0 * torch.nn.functional.one_hot(target[:, 0]).movedim(-1, 1)
        >>> round(CenterlineDiceLoss()(logits, target).item(), 6)
        0.0
    """

    def __init__(self, *, alpha: float = 0.5, iterations: int = 3, include_background: bool = False) -> None:
        super().__init__()
        if not 0 <= alpha <= 1 or iterations < 1:
            raise ConfigError(
                f"expected alpha from 0 to 1 and at least 1 iteration, got {alpha} and {iterations}"
            )
        self.alpha, self.iterations = alpha, iterations
        self.dice = DiceLoss(include_background=include_background, smooth=1.0)

    def of_scores(self, scores: Scores) -> Tensor:
        """See ``Loss.of_scores``."""
        first = scores.first_counted(include_background=self.dice.include_background)
        probs, truth = scores.probs()[:, first:], scores.truth()[:, first:]
        precision = _share(soft_skeleton(probs, self.iterations), truth)
        sensitivity = _share(soft_skeleton(truth, self.iterations), probs)
        centerline = 2 * precision * sensitivity / (precision + sensitivity)
        return (1 - self.alpha) * self.dice.of_scores(scores) + self.alpha * (1 - centerline.mean())

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        return f"alpha={self.alpha}, iterations={self.iterations}"


def soft_skeleton(values: Tensor, iterations: int) -> Tensor:
    """Where a map stands out from what an opening leaves of it, at every erosion; of a mask, roughly its centreline.

    Minima and maxima of shifted copies rather than pooling: their gradients are the same on every run.

    Args:
        values: 0 to 1.
        iterations: Erosions.

    Shape:
        - ``(B, K, *S)`` in and out.

    Example:
        >>> bar = torch.zeros(1, 1, 5, 7)
        >>> bar[..., 1:4, :] = 1.0
        >>> soft_skeleton(bar, 3)[0, 0, :, 3]
        tensor([0., 0., 1., 0., 0.])
    """
    skeleton = torch.relu(values - _dilate(_erode(values)))
    for _ in range(iterations):
        values = _erode(values)
        edge = torch.relu(values - _dilate(_erode(values)))
        skeleton = skeleton + torch.relu(edge - skeleton * edge)
    return skeleton


def _share(skeleton: Tensor, mask: Tensor) -> Tensor:
    return ((skeleton * mask).flatten(2).sum(2) + 1) / (skeleton.flatten(2).sum(2) + 1)


def _erode(values: Tensor) -> Tensor:
    """Smallest of a voxel and its neighbours along the axes; outside counts as full."""
    smallest = values
    for axis in range(2, values.dim()):
        for neighbour in _neighbours(values, axis, outside=1.0):
            smallest = torch.minimum(smallest, neighbour)
    return smallest


def _dilate(values: Tensor) -> Tensor:
    """Largest of the ``3^d`` voxels around each; outside counts as empty."""
    for axis in range(2, values.dim()):
        before, after = _neighbours(values, axis, outside=0.0)
        values = torch.maximum(torch.maximum(before, after), values)
    return values


def _neighbours(values: Tensor, axis: int, outside: float) -> tuple[Tensor, Tensor]:
    spread = [0, 0] * (values.dim() - axis - 1)
    padded = pad(values, [*spread, 1, 1], value=outside)
    return padded.narrow(axis, 0, values.shape[axis]), padded.narrow(axis, 2, values.shape[axis])
