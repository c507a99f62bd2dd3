"""The guide that gradient-weighted operators are steered by, as a layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medconv.ops import Derivative, gradient_energy


class EdgeGuide(nn.Module):
    """Gradient energy of the image, once a forward pass and never in half precision.

    Args:
        spacing_mm: Voxel size of the image.
        derivative: ``"gaussian"`` or ``"scharr"``, as in ``gradient_energy``.
        with_image: Whether the intensities follow the energy, for operators that compare pairs of voxels.

    Shape:
        - Input ``(B, C, *S)``.
        - Output ``(B, 1, *S)``, or ``(B, 1 + C, *S)`` with the image, float32 (float64 for a float64 image),
          in (intensity / mm)²; no gradient flows through it.
    """

    def __init__(
        self, spacing_mm: Sequence[float], derivative: Derivative = "gaussian", *, with_image: bool = False
    ) -> None:
        super().__init__()
        self.spacing_mm = tuple(spacing_mm)
        self.derivative: Derivative = derivative
        self.with_image = with_image

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """The guide of ``image``."""
        energy = gradient_energy(image, self.spacing_mm, derivative=self.derivative)
        return torch.cat([energy, image.to(energy.dtype)], dim=1) if self.with_image else energy

    def extra_repr(self) -> str:
        """The voxel size and the derivative."""
        return f"spacing_mm={self.spacing_mm}, {self.derivative}"
