"""Whether what was exported answers as what was trained: the same patches through both, and how far apart they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import torch
from torch import Tensor

from medconv.transforms.decide import decide

MIN_AGREEMENT = 0.999
"""Share of voxels that must get the same label: below it, a difference shows in masks."""


@dataclass(frozen=True)
class Parity:
    """How far an exported model is from the network it was made of.

    Args:
        target: Which export.
        max_abs_difference: Of the logits, over all patches.
        max_abs_logit: The largest logit, to compare with.
        label_agreement: Share of voxels with the same label.
        tolerance: What the difference may be.
        shapes: Of the patches, ``(B, C, *S)``.
    """

    target: str
    max_abs_difference: float
    max_abs_logit: float
    label_agreement: float
    tolerance: float
    shapes: tuple[tuple[int, ...], ...]

    @property
    def is_within(self) -> bool:
        """Whether the difference is at most the tolerance, and labels agree in all but 1 of 1000 voxels."""
        # written so that NaN is outside
        return self.max_abs_difference <= self.tolerance and self.label_agreement >= MIN_AGREEMENT

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "target": self.target,
            "is_within": self.is_within,
            # NaN and infinity have no place in JSON
            "max_abs_difference": self.max_abs_difference if self.max_abs_difference < float("inf") else None,
            "max_abs_logit": self.max_abs_logit if self.max_abs_logit < float("inf") else None,
            "label_agreement": self.label_agreement,
            "tolerance": self.tolerance,
            "min_label_agreement": MIN_AGREEMENT,
            "shapes": [list(shape) for shape in self.shapes],
        }

    def __str__(self) -> str:
        verdict = "within" if self.is_within else "OUTSIDE"
        return (
            f"{self.target:12} logits differ by at most {self.max_abs_difference:.2g} ({verdict} {self.tolerance:g}), "
            f"labels agree in {100 * self.label_agreement:.4g} %"
        )


@torch.inference_mode()
def compare(
    target: str,
    exported: Callable[[Tensor], Tensor],
    expected: Sequence[Tensor],
    patches: Sequence[Tensor],
    tolerance: float,
    regions_class_order: Sequence[int] = (),
) -> Parity:
    """Run patches through an exported model and hold its logits against those of the network.

    Args:
        target: Name of the export.
        exported: Maps ``(B, C, *S)`` to logits.
        expected: Logits of the trained network for each patch.
        patches: ``(B, C, *S)``.
        tolerance: Largest difference of a logit.
        regions_class_order: The label that each output writes, where the network answers for regions.

    Example:
        >>> x = torch.tensor([[[1.0, 5.0], [2.0, 3.0]]])
        >>> compare("copy", lambda x: x + 0.25, [x], [x], tolerance=0.1).is_within
        False
    """
    difference = largest = 0.0
    same = voxels = 0
    for patch, logits in zip(patches, expected, strict=True):
        got = exported(patch)
        apart = float((got - logits).abs().max()) if got.shape == logits.shape else float("inf")
        # NaN stays, whatever comes after it
        difference = difference if isnan(difference) or apart <= difference else apart
        largest = max(largest, float(logits.abs().max()))
        voxels += logits[:, 0].numel()
        if got.shape == logits.shape:
            own, theirs = (decide(scores.transpose(0, 1), regions_class_order) for scores in (got, logits))
            same += int((own == theirs).sum())
    shapes = tuple(tuple(patch.shape) for patch in patches)
    return Parity(target, difference, largest, same / voxels, tolerance, shapes)


def noise_patch(shape: Sequence[int], seed: int = 0) -> Tensor:
    """Noise of two grains, of mean 0 and variance 1, as normalised images are; the same in every run.

    Args:
        shape: ``(B, C, *S)``.
        seed: Of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = [max(1, size // 4) for size in shape[2:]]
    mode = "bilinear" if len(coarse) == 2 else "trilinear"
    smooth = torch.nn.functional.interpolate(
        torch.randn((*shape[:2], *coarse), generator=generator), size=tuple(shape[2:]), mode=mode
    )
    return (smooth + 0.5 * torch.randn(tuple(shape), generator=generator)) / 1.1
