"""Distance between boundaries: every wrong voxel costs the millimetres that it lies off.

Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medconv.errors import ConfigError, ShapeError
from medconv.losses.base import Loss
from medconv.losses.distance import signed_distance_mm
from medconv.losses.scores import Scores


class BoundaryLoss(Loss):
    r"""Mean signed distance of misplaced probability from the true boundary, in millimetres.

    .. math:: L = \frac{1}{|C| N} \sum_{k \in C} \sum_p \phi_k(p) \, (q_k(p) - y_k(p))

    with the signed distance :math:`\phi_k` of the truth, negative inside. The second term is constant: it makes a
    perfect result 0 and leaves the gradient alone. Its gradient does not depend on the size of a structure, but it
    is blind to structures that are absent from the patch, so add it to Dice (``CompoundLoss``) with a small weight.

    Args:
        limit_mm: Distances are not measured beyond; errors farther off cost as much as those there.
        include_background: Whether class 0 is averaged with the others.
        spacing_mm: Voxel edge lengths; ``None``: those of the plan, which training hands on (at coarser outputs of
            a decoder, the larger ones of its grid).

    Shape:
        - ``logits`` ``(B, K, *S)``, ``target`` ``(B, 1, *S)``; output a scalar; see ``Loss``.

    Raises:
        ConfigError: A limit or a spacing that is not positive.
        ShapeError: At call time: the spacing is not known, or of another number of axes.

    Cost:
        Two exact distance maps of each class a step, on the device: ``4 limit / h`` passes an axis over the labels
        for voxels of edge ``h``. Voxels whose truth is not known count as outside.

    Example:
        >>> import torch
        >>> target = torch.tensor([[[1, 1, 0, 0]]])
        >>> logits = torch.tensor([[[-50.0, -50, -50, 50], [50, 50, 50, -50]]])  # one voxel too long
        >>> BoundaryLoss(spacing_mm=[2.0])(logits, target)
        tensor(0.5000)
    """

    def __init__(
        self,
        *,
        limit_mm: float = 20.0,
        include_background: bool = False,
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not limit_mm > 0 or (spacing_mm is not None and not all(mm > 0 for mm in spacing_mm)):
            raise ConfigError(f"expected positive limit_mm and spacing_mm, got {limit_mm} and {spacing_mm}")
        self.limit_mm, self.include_background = limit_mm, include_background
        self.spacing_mm = None if spacing_mm is None else tuple(spacing_mm)

    def of_scores(self, scores: Scores) -> Tensor:
        """See ``Loss.of_scores``."""
        spacing_mm = self.spacing_mm or scores.spacing_mm
        if spacing_mm is None or len(spacing_mm) != scores.spatial_dims:
            raise ShapeError(
                f"BoundaryLoss: expected spacing_mm of {scores.spatial_dims} axes, got {spacing_mm}; set it where "
                "the loss is not built by training, which takes it from the plan"
            )
        first = scores.first_counted(include_background=self.include_background)
        truth, probs = scores.truth()[:, first:], scores.probs()[:, first:]
        distance = signed_distance_mm(truth > 0, spacing_mm, self.limit_mm).to(probs.dtype)
        known = probs.numel() if scores.valid is None else scores.valid.sum().clamp_min(1) * probs.shape[1]
        return (distance * (probs - truth)).sum() / known

    def extra_repr(self) -> str:
        """Settings, as PyTorch prints them."""
        return (
            f"limit_mm={self.limit_mm}, include_background={self.include_background}, "
            f"spacing_mm={self.spacing_mm}"
        )
