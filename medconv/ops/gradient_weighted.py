"""Gradient-weighted convolution: let edges speak less, or more, than the flat regions beside them.

Source: Knutsson & Westin, "Normalized and Differential Convolution", CVPR 1993; the weight is that of
Perona & Malik, "Scale-Space and Edge Detection Using Anisotropic Diffusion", 1990; ``border="partial"`` is
Liu et al., "Partial Convolution based Padding", 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError, ShapeError
from medconv.ndim import CONV
from medconv.ops.base import ConvOp
from medconv.ops.image_gradient import gradient_energy
from medconv.ops.normalised import edge_weight, window_sum
from medconv.ops.standard import LEAKY_RELU_GAIN
from medconv.types import IntOrInts

Border = Literal["zero", "partial"]

_EMPTY_WINDOW = 1e-6
"""Below the weight of any voxel (a thousandth): a window with less holds none, and its votes are zero."""


class GradientWeightedConv(ConvOp):
    r"""Normalised convolution whose certainty is a learned power of the image gradient.

    .. math:: y = \frac{M}{N} \cdot (W * (a x)) + b, \quad a = (1 + s^2 / \kappa^2)^{-\alpha}, \quad
        N = \mathrm{box}(a), \quad M = \mathrm{box}(1)

    ``s²`` is the *guide*, the squared gradient of the image; ``box`` sums over the window of the kernel. The
    exponent ``α = tanh(ρ)`` is learned: positive, voxels on edges lose their vote; negative, they gain. It
    starts at 0, where the operator *is* the plain convolution. The division is by ``Σ a`` and not by
    ``Σ W a``, which can vanish because ``W`` has both signs.

    Use it where contrast at borders decides (thin membranes, partial volume) and noise is moderate; gradient
    energy grows with the variance of the noise. It needs intensities on one scale, so normalise them.

    Args:
        contrast_per_mm: Gradient at which an edge begins to count, in intensity per mm; the initial value of
            the learned ``κ``. With z-scored images 1 is a strong edge.
        border: ``"zero"``: zeros outside count, as in a plain convolution. ``"partial"``: windows that reach
            beyond the volume are scaled up by the share that is missing.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Guide ``(B, 1, *S)``, float32, in (intensity / mm)²; ``None``: ``gradient_energy`` of the input
          itself, without gradient.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: ``contrast_per_mm`` is not positive or ``border`` is unknown.
        ShapeError: The guide's shape does not fit the input.

    Cost:
        That of ``StandardConv`` plus one multiplication an input and an output value, and two passes over
        them.

    Example:
        >>> conv = GradientWeightedConv(3, 1, 4, spacing_mm=(3.0, 1.0, 1.0))
        >>> conv(torch.rand(2, 1, 6, 8, 8)).shape, conv.alpha.item()
        (torch.Size([2, 4, 6, 8, 8]), 0.0)
    """

    needs_guide: ClassVar[bool] = True
    neutral: ClassVar[dict[str, Any] | None] = {"border": "zero"}

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts = 3,
        *,
        stride: IntOrInts = 1,
        dilation: IntOrInts = 1,
        groups: int = 1,
        bias: bool = True,
        spacing_mm: Sequence[float] | None = None,
        contrast_per_mm: float = 1.0,
        border: Border = "zero",
    ) -> None:
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            spacing_mm=spacing_mm,
        )
        if contrast_per_mm <= 0:
            raise ConfigError(f"expected a positive contrast_per_mm, got {contrast_per_mm}")
        if border not in get_args(Border):
            raise ConfigError(f"expected border 'zero' or 'partial', got {border!r}")
        self.contrast_per_mm = contrast_per_mm
        self.border = border
        self.weight = nn.Parameter(torch.empty(self.weight_shape))
        nn.init.normal_(self.weight, std=LEAKY_RELU_GAIN / prod(self.weight_shape[1:]) ** 0.5)
        self.rho_alpha = nn.Parameter(torch.zeros(()))
        self.rho_contrast = nn.Parameter(torch.zeros(()))

    @property
    def alpha(self) -> Tensor:
        """Exponent in (-1, 1): above 0 edges lose their vote, below 0 they gain, at 0 nothing is weighted."""
        return torch.tanh(self.rho_alpha)

    @property
    def contrast(self) -> Tensor:
        """The learned ``κ`` in intensity per mm; positive, initially ``contrast_per_mm``."""
        scale = F.softplus(self.rho_contrast) / F.softplus(torch.zeros_like(self.rho_contrast))
        return self.contrast_per_mm * scale

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Convolve ``x``, weighting its voxels by the gradient energy ``guide``."""
        self.check_input(x)
        if guide is None:
            # detached: else the network could lower the energy by flattening its own features
            guide = gradient_energy(x.detach(), self.spacing_mm)
        self._check_guide(x, guide)
        energy = guide.to(torch.promote_types(x.dtype, torch.float32))
        # both sums use the weight as the convolution sees it, so that its rounding cancels
        weight = edge_weight(energy, self.alpha, self.contrast).to(x.dtype)
        convolution = CONV[self.spatial_dims]
        votes = convolution(
            x * weight, self.weight, None, self.stride, self.padding, self.dilation, self.groups
        )
        y = votes * self._rescale(weight.to(energy.dtype))
        if self.bias is not None:
            y = y + self.bias.view(-1, *[1] * self.spatial_dims)
        return y.to(votes.dtype)

    def macs(self, input_shape: Sequence[int]) -> int:
        """Multiply-adds with those of weighting the input and rescaling the output."""
        outputs = self.out_channels * prod(self.output_shape(input_shape))
        return super().macs(input_shape) + self.in_channels * prod(input_shape) + outputs

    def extra_repr(self) -> str:
        """Geometry and character."""
        return f"{super().extra_repr()}, contrast_per_mm={self.contrast_per_mm}, border={self.border}"

    def _rescale(self, weight: Tensor) -> Tensor:
        """``M / N``: what the window would weigh without weighting, over what it weighs."""
        geometry = (self.kernel_size, self.stride, self.padding, self.dilation)
        if self.border == "zero":
            full = window_sum(torch.ones_like(weight[:1]), *geometry)
        else:
            full = weight.new_tensor(prod(self.kernel_size))
        return full / window_sum(weight, *geometry).clamp(min=_EMPTY_WINDOW)

    def _check_guide(self, x: Tensor, guide: Tensor) -> None:
        expected = (x.shape[0], 1, *x.shape[2:])
        if tuple(guide.shape) != expected:
            raise ShapeError(f"expected a guide of shape {expected}, got {tuple(guide.shape)}")
