"""The guide that gradient-weighted operators are steered by, as a layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medconv.ops import gradient_energy


class EdgeGuide(nn.Module):
    """Gradient energy of the image, once a forward pass and never in half precision.

    Args:
        spacing_mm: Voxel size of the image.

    Shape:
        - Input ``(B, C, *S)``.
        - Output ``(B, 1, *S)``, float32 (float64 for a float64 image), in (intensity / mm)²; no gradient
          flows through it.
    """

    def __init__(self, spacing_mm: Sequence[float]) -> None:
        super().__init__()
        self.spacing_mm = tuple(spacing_mm)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """The guide of ``image``."""
        return gradient_energy(image, self.spacing_mm)

    def extra_repr(self) -> str:
        """The voxel size."""
        return f"spacing_mm={self.spacing_mm}"
