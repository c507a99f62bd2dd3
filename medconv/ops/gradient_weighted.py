"""Gradient-weighted convolution: let edges speak less, or more, than the flat regions beside them.

Source: Knutsson & Westin, "Normalized and Differential Convolution", CVPR 1993; the weight is that of
Perona & Malik, "Scale-Space and Edge Detection Using Anisotropic Diffusion", 1990; ``border="partial"`` is
Liu et al., "Partial Convolution based Padding", 2018. Pairs: see ``pairwise.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, prod
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError, ShapeError
from medconv.kernels.normalised_convolution import gradient_weighted_convolution
from medconv.ops.base import ConvOp
from medconv.ops.image_gradient import gradient_energy
from medconv.ops.normalised import EMPTY_WINDOW, MAX_ENERGY, Window, edge_weight, normalised_convolution
from medconv.ops.pairwise import pairwise_convolution
from medconv.ops.precision import convolution_dtype
from medconv.ops.standard import LEAKY_RELU_GAIN
from medconv.types import IntOrInts

Border = Literal["zero", "partial"]
Mode = Literal["source", "pairwise"]
Guide = Literal["image", "feature"]


class GradientWeightedConv(ConvOp):
    r"""Normalised convolution whose certainty is a learned power of the image gradient.

    .. math:: y = \frac{M}{N} \cdot (W * (a x)) + b, \quad a = (1 + s^2 / \kappa^2)^{-\alpha}, \quad
        N = \mathrm{box}(a), \quad M = \mathrm{box}(1)

    ``s²`` is the *guide*, the squared gradient of the image; ``box`` sums over the window of the kernel. The
    exponent ``α = tanh(ρ)`` is learned: positive, voxels on edges lose their vote; negative, they gain. It
    starts at 0, where the operator *is* the plain convolution. The division is by ``Σ a`` and not by
    ``Σ W a``, which can vanish because ``W`` has both signs.

    In the *pairwise* mode the weight belongs to two voxels and not to one: ``s²`` is the squared difference of
    their intensities over their distance. A voxel on an edge then still hears those on its own side.

    Use it where contrast at borders decides (thin membranes, partial volume) and noise is moderate; gradient
    energy grows with the variance of the noise. It needs intensities on one scale, so normalise them.

    Args:
        contrast_per_mm: Gradient at which an edge begins to count, in intensity per mm; the initial value of
            the learned ``κ``. With z-scored images 1 is a strong edge.
        border: ``"zero"``: zeros outside count, as in a plain convolution. ``"partial"``: windows that reach
            beyond the volume are scaled up by the share that is missing.
        mode: ``"source"``: an edge lowers the vote of the voxels on it, everywhere. ``"pairwise"``: it lowers
            what voxels on its two sides say to each other; dear, see Cost.
        guide: What the edges are taken from. ``"image"``: the guide that the network makes once an image.
            ``"feature"``: the mean channel of this operator's own input, without gradient, since the network
            could otherwise lower the energy by flattening its features.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Guide ``(B, 1, *S)``, float32: ``gradient_energy``, in (intensity / mm)². In the pairwise mode the
          intensities follow it, ``(B, 1 + C_I, *S)``. With ``guide="feature"`` there is none.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: ``contrast_per_mm`` is not positive; ``border``, ``mode`` or ``guide`` is unknown; an even
            kernel in the pairwise mode, which has no centre to compare with.
        ShapeError: The guide is missing or its shape does not fit the input.

    Cost:
        That of ``StandardConv`` plus one multiplication an input and an output value, and two passes over
        them; the backward pass adds five. One map more is kept than by ``StandardConv``. The pairwise mode
        keeps ``prod(kernel_size)`` copies of the input.

    Example:
        >>> conv = GradientWeightedConv(3, 1, 4, spacing_mm=(3.0, 1.0, 1.0))
        >>> image = torch.rand(2, 1, 6, 8, 8)
        >>> conv(image, gradient_energy(image, conv.spacing_mm)).shape, conv.alpha.item()
        (torch.Size([2, 4, 6, 8, 8]), 0.0)
    """

    needs_guide = True
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
        mode: Mode = "source",
        guide: Guide = "image",
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
        if mode not in get_args(Mode):
            raise ConfigError(f"expected mode 'source' or 'pairwise', got {mode!r}")
        if guide not in get_args(Guide):
            raise ConfigError(f"expected guide 'image' or 'feature', got {guide!r}")
        if mode == "pairwise" and any(k % 2 == 0 for k in self.kernel_size):
            raise ConfigError(
                f"expected an odd kernel_size in mode 'pairwise', which compares each voxel with the one in the "
                f"centre, got {self.kernel_size}"
            )
        self.contrast_per_mm = contrast_per_mm
        self.border, self.mode, self.guide = border, mode, guide
        self.needs_guide = guide == "image"
        self.guide_channels = 2 if mode == "pairwise" else 1
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
        return F.softplus(self.rho_contrast) * (self.contrast_per_mm / log(2))

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Convolve ``x``, weighting its voxels by ``guide``."""
        self.check_input(x)
        guide = self._see(x, guide).to(torch.promote_types(x.dtype, torch.float32))
        dtype = convolution_dtype(x)
        x, weight = x.to(dtype), self.weight.to(dtype)
        window = Window(self.kernel_size, self.stride, self.padding, self.dilation, self.groups)
        if self.mode == "source":
            quick = gradient_weighted_convolution(
                x,
                guide[:, :1],
                self.alpha,
                self.contrast,
                weight,
                self.bias,
                window,
                partial=self.border == "partial",
                bounds=(MAX_ENERGY, EMPTY_WINDOW),
            )
            if quick is not None:
                return quick
            # both sums use the certainty as the convolution sees it, so that its rounding cancels
            certainty = edge_weight(guide[:, :1], self.alpha, self.contrast).to(dtype)
            full = self._full(guide, window)
            return normalised_convolution(x, certainty, weight, self.bias, full, window)
        partial = self.border == "partial"
        y = pairwise_convolution(
            x,
            guide[:, 1:],
            weight,
            self.alpha,
            self.contrast,
            window,
            self.spacing_mm,
            counts_outside=partial,
        )
        return y if self.bias is None else (y + self.bias.view(-1, *[1] * self.spatial_dims)).to(y.dtype)

    def macs(self, input_shape: Sequence[int]) -> int:
        """Multiply-adds with those of weighting the input and rescaling the output."""
        places = prod(self.output_shape(input_shape))
        weighting = prod(input_shape) if self.mode == "source" else prod(self.kernel_size) * places
        return super().macs(input_shape) + self.in_channels * weighting + self.out_channels * places

    def extra_repr(self) -> str:
        """Geometry and character."""
        character = f"contrast_per_mm={self.contrast_per_mm}, border={self.border}, mode={self.mode}"
        return f"{super().extra_repr()}, {character}, guide={self.guide}"

    def _full(self, guide: Tensor, window: Window) -> Tensor:
        """``M``: what each window would weigh without weighting."""
        if self.border == "zero":
            return window.sum(torch.ones_like(guide[:1, :1]))
        return guide.new_tensor(prod(self.kernel_size))

    def _see(self, x: Tensor, guide: Tensor | None) -> Tensor:
        """The guide, checked; or made from ``x``."""
        if self.guide == "feature":
            if guide is not None:
                raise ShapeError(
                    "GradientWeightedConv: guide='feature' takes its edges from the input, got a guide"
                )
            mean = x.detach().mean(dim=1, keepdim=True)
            energy = gradient_energy(mean, self.spacing_mm)
            return energy if self.mode == "source" else torch.cat([energy, mean.to(energy.dtype)], dim=1)
        channels = "1" if self.mode == "source" else "1 + C_I"
        expected = f"a guide of shape ({x.shape[0]}, {channels}, {', '.join(map(str, x.shape[2:]))})"
        if guide is None:
            raise ShapeError(
                f"GradientWeightedConv: expected {expected}, got none; UNet makes it, elsewhere give "
                "gradient_energy(image, spacing_mm), or say guide='feature'"
            )
        fits = guide.dim() == x.dim() and guide.shape[1] >= self.guide_channels
        if not fits or guide.shape[0] != x.shape[0] or guide.shape[2:] != x.shape[2:]:
            raise ShapeError(f"GradientWeightedConv: expected {expected}, got {tuple(guide.shape)}")
        return guide
