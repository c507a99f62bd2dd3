"""What a loss sees: log-probabilities beside the truth, for exclusive classes or for regions that overlap.

Both kinds answer the same questions, so a loss is written once.

Source: regions as in Isensee et al., "nnU-Net for Brain Tumor Segmentation", BrainLes 2020.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medconv.errors import ConfigError, ShapeError
from medconv.losses.functional import pick_class, sum_by_class


class Scores(ABC):
    """Log-probabilities of a network and the truth they are compared with.

    Args:
        log_probs: ``(B, K, *S)``, float32 or float64.
        true_log_probs: The log-probability of the truth, ``(B, 1, *S)`` for classes, ``(B, K, *S)`` for regions.
        valid: ``(B, 1, *S)`` bool, where the truth is known; ``None``: everywhere.
        spacing_mm: Voxel edge lengths, where they are known.
    """

    log_probs: Tensor
    true_log_probs: Tensor
    valid: Tensor | None
    spacing_mm: tuple[float, ...] | None

    @property
    def num_classes(self) -> int:
        """``K``."""
        return self.log_probs.shape[1]

    @property
    def spatial_dims(self) -> int:
        """Number of spatial axes."""
        return self.log_probs.dim() - 2

    def probs(self) -> Tensor:
        """Probabilities ``(B, K, *S)``, 0 where the truth is not known."""
        return self.only_valid(self.log_probs.exp())

    def only_valid(self, values: Tensor) -> Tensor:
        """``values`` with 0 where the truth is not known."""
        return values if self.valid is None else torch.where(self.valid, values, 0.0)

    def weighted(self, values: Tensor, class_weights: Tensor | None) -> Tensor:
        """Mean over the voxels with a known truth, by the weight of the true class (of the region); 0 without any.

        Args:
            values: Shaped as ``true_log_probs``.
            class_weights: ``(K,)``; ``None``: all alike.
        """
        weights = self.only_valid(self._weights(class_weights))
        tiny = torch.finfo(values.dtype).tiny
        return (weights * values).sum() / weights.sum().clamp_min(tiny)

    def counted(self, values: Tensor, *, include_background: bool) -> Tensor:
        """Of values a class ``(..., K)``, those that count: regions have no background."""
        return values[..., self.first_counted(include_background=include_background) :]

    def check_weights(self, class_weights: Tensor | None) -> Tensor:
        """One weight a class, 1 where there are none.

        Raises:
            ShapeError: As many weights as classes (regions) are expected.
        """
        if class_weights is None:
            return self.log_probs.new_ones(self.num_classes)
        if len(class_weights) != self.num_classes:
            raise ShapeError(
                f"expected {self.num_classes} class_weights ({self.what_weights_are}), got {len(class_weights)}"
            )
        return class_weights.to(self.log_probs.dtype)

    what_weights_are: str

    @abstractmethod
    def first_counted(self, *, include_background: bool) -> int:
        """The first class that counts."""

    @abstractmethod
    def overlap(self) -> Tensor:
        """Probability given to the truth, summed over voxels: ``(B, K)``."""

    @abstractmethod
    def truth_size(self) -> Tensor:
        """Voxels of each class: ``(B, K)``."""

    @abstractmethod
    def truth(self) -> Tensor:
        """The truth as 0 and 1, ``(B, K, *S)``, in the type of the probabilities; 0 where it is not known."""

    @abstractmethod
    def smoothed_loss(self, smoothing: float, class_weights: Tensor | None) -> Tensor:
        """Cross-entropy where a share of the truth is spread evenly over what it could have been."""

    @abstractmethod
    def _weights(self, class_weights: Tensor | None) -> Tensor:
        """The weight of each of ``true_log_probs``, of its shape."""


class ClassScores(Scores):
    """Of classes that exclude each other: softmax, background is class 0."""

    what_weights_are = "one a class, background first"

    def __init__(
        self,
        logits: Tensor,
        target: Tensor,
        valid: Tensor | None = None,
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        self.target = target
        self.log_probs = torch.log_softmax(logits, dim=1)
        self.true_log_probs = pick_class(self.log_probs, target)
        self.valid, self.spacing_mm = valid, None if spacing_mm is None else tuple(spacing_mm)

    def first_counted(self, *, include_background: bool) -> int:
        """1, or 0 with the background."""
        return 0 if include_background else 1

    def overlap(self) -> Tensor:
        """See ``Scores``."""
        return sum_by_class(self.only_valid(self.true_log_probs.exp()), self.target, self.num_classes)

    def truth_size(self) -> Tensor:
        """See ``Scores``."""
        ones = self.only_valid(torch.ones_like(self.true_log_probs))
        return sum_by_class(ones, self.target, self.num_classes)

    def truth(self) -> Tensor:
        """See ``Scores``."""
        classes = torch.arange(self.num_classes, device=self.target.device)
        one_hot = (self.target == classes.view(1, -1, *[1] * self.spatial_dims)).to(self.log_probs.dtype)
        return self.only_valid(one_hot)

    def smoothed_loss(self, smoothing: float, class_weights: Tensor | None) -> Tensor:
        """As ``torch.nn.functional.cross_entropy``."""
        per_class, weights = self.check_weights(class_weights), self.only_valid(self._weights(class_weights))
        total = (weights * self.true_log_probs).sum()
        spread = (
            per_class.view(1, -1, *[1] * self.spatial_dims) * self.only_valid(self.log_probs)
        ).sum() / self.num_classes
        tiny = torch.finfo(self.log_probs.dtype).tiny
        return -((1 - smoothing) * total + smoothing * spread) / weights.sum().clamp_min(tiny)

    def _weights(self, class_weights: Tensor | None) -> Tensor:
        return self.check_weights(class_weights)[self.target]


class RegionScores(Scores):
    """Of regions that may overlap: one sigmoid each, and no background."""

    what_weights_are = "one a region"

    def __init__(
        self,
        logits: Tensor,
        inside: Tensor,
        valid: Tensor | None = None,
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        self.inside = inside
        self.log_probs = torch.nn.functional.logsigmoid(logits)
        self._log_outside = torch.nn.functional.logsigmoid(-logits)
        self.true_log_probs = torch.where(inside, self.log_probs, self._log_outside)
        self.valid, self.spacing_mm = valid, None if spacing_mm is None else tuple(spacing_mm)

    def first_counted(self, **_: Any) -> int:
        """All regions count."""
        return 0

    def overlap(self) -> Tensor:
        """See ``Scores``."""
        return torch.where(self.inside, self.probs(), 0.0).flatten(2).sum(2)

    def truth_size(self) -> Tensor:
        """See ``Scores``."""
        return self.truth().flatten(2).sum(2)

    def truth(self) -> Tensor:
        """See ``Scores``."""
        return self.only_valid(self.inside.to(self.log_probs.dtype))

    def smoothed_loss(self, smoothing: float, class_weights: Tensor | None) -> Tensor:
        """Binary cross-entropy with ``smoothing / 2`` on the wrong side."""
        spread = (self.log_probs + self._log_outside) / 2
        return -self.weighted((1 - smoothing) * self.true_log_probs + smoothing * spread, class_weights)

    def _weights(self, class_weights: Tensor | None) -> Tensor:
        weights = self.check_weights(class_weights).view(1, -1, *[1] * self.spatial_dims)
        return weights.expand_as(self.true_log_probs)


def inside_regions(labels: Tensor, regions: Sequence[Sequence[int]]) -> Tensor:
    """Which voxels belong to which region.

    Args:
        labels: ``(B, 1, *S)`` integers.
        regions: The labels of each.

    Shape:
        - Output ``(B, R, *S)`` bool.

    Example:
        >>> inside_regions(torch.tensor([[[0, 1, 2]]]), [(1, 2), (2,)])
        tensor([[[False,  True,  True],
                 [False, False,  True]]])
    """
    masks = []
    for members in regions:
        mask = labels == members[0]
        for label in members[1:]:
            mask = mask | (labels == label)
        masks.append(mask)
    return torch.cat(masks, dim=1)


def as_class_weights(class_weights: Sequence[float] | None) -> Tensor | None:
    """Weights of classes as a tensor.

    Raises:
        ConfigError: One is negative, or all are 0.
    """
    if class_weights is None:
        return None
    if min(class_weights, default=0) < 0 or not any(class_weights):
        raise ConfigError(
            f"expected class_weights that are not negative and not all 0, got {list(class_weights)}"
        )
    return torch.tensor(class_weights, dtype=torch.float32)
