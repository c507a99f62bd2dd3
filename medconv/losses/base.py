"""The contract of every loss: ``(logits, target) -> one number``, in float32."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medconv.errors import ShapeError
from medconv.losses.scores import ClassScores, RegionScores, Scores, inside_regions


class Loss(nn.Module, ABC):
    r"""Base of the losses: checks the shapes and takes log-probabilities in float32, once for all parts.

    .. math:: \ell_k(p) = z_k(p) - \log \sum_j e^{z_j(p)} \qquad \text{regions: } \ell_r(p) = \log \sigma(z_r(p))

    Classes exclude each other and class 0 is background; regions are sets of labels, may overlap and have no
    background, and each is a yes or no of its own.

    Shape:
        - ``logits`` ``(B, K, *S)``, any floating type, ``K >= 2`` (``K >= 1`` regions).
        - ``target`` ``(B, 1, *S)``, any integer type, values ``0 … K - 1`` (any labels with regions).
        - ``valid`` ``(B, 1, *S)`` bool: where the truth is known; ``None``: everywhere.
        - ``regions``: the labels of each region; ``None``: classes.
        - ``spacing_mm``: voxel edge lengths, for losses that measure distances.
        - Output: a scalar, float32 (float64 for float64 logits).

    Raises:
        ShapeError: Logits and target do not belong together, or (checked on the CPU only, where it costs no
            synchronisation) a label is not below ``K``.
    """

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None = None,
        regions: Sequence[Sequence[int]] | None = None,
        spacing_mm: Sequence[float] | None = None,
    ) -> Tensor:
        """The loss of these logits, as a scalar."""
        _check(logits, target, regions)
        # half precision overflows in the sums over voxels, so it ends here, inside autocast too
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            if regions is None:
                return self.of_scores(ClassScores(logits, target.long(), valid, spacing_mm))
            return self.of_scores(RegionScores(logits, inside_regions(target, regions), valid, spacing_mm))

    @abstractmethod
    def of_scores(self, scores: Scores) -> Tensor:
        """The loss of log-probabilities; override this one.

        Args:
            scores: Log-probabilities ``(B, K, *S)`` beside the truth, of classes or of regions.
        """


def _check(logits: Tensor, target: Tensor, regions: Sequence[Sequence[int]] | None) -> None:
    if logits.dim() < 3 or target.shape != (logits.shape[0], 1, *logits.shape[2:]):
        raise ShapeError(
            "expected logits (B, K, *S) and target (B, 1, *S), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if target.is_floating_point():
        raise ShapeError(f"expected integer labels, got {target.dtype}; convert the target with .long()")
    if regions is not None:
        if len(regions) != logits.shape[1]:
            raise ShapeError(
                f"expected one channel of logits for each of {len(regions)} regions, got {logits.shape[1]}"
            )
        return
    if logits.shape[1] < 2:
        raise ShapeError(
            "expected at least 2 classes (background is class 0), got 1 channel of logits; "
            "a binary task has num_classes=2"
        )
    if target.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (int(v) for v in target.aminmax())
        if low < 0 or high >= logits.shape[1]:
            raise ShapeError(
                f"expected labels 0 … {logits.shape[1] - 1} (the network has {logits.shape[1]} classes), "
                f"got {low} … {high}; check the label names of the dataset"
            )
