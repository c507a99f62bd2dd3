"""Sparse convolution by a threshold: what is small counts as zero, however much that is.

Source: the first sketch of this project; Han et al., "Learning both Weights and Connections", NeurIPS 2015
(a threshold in units of the layer's own weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from medconv.errors import ConfigError
from medconv.ops.standard import LEAKY_RELU_GAIN, StandardConv
from medconv.types import IntOrInts


class ThresholdSparseConv(StandardConv):
    r"""Convolution in which weights below a threshold take no part; they are not overwritten.

    .. math:: W = V \cdot [\, |V| > t \, \sigma_0 \,], \qquad \sigma_0^2 = 2 / \text{fan-in}

    The threshold counts in the initial standard deviation ``σ₀`` of the layer, so that it means the same at
    every width. (A fixed number does not: 0.1 leaves out half of a 3-channel layer and *all* of one with 16
    channels or more, which then answers a constant.) The level is not controlled: it follows the weights,
    and a weight below the threshold has no gradient and comes back only if something else moves it.

    Use it to repeat experiments with thresholds. For a stated level use ``SparseConv``.

    Args:
        threshold: ``t``, not negative; about 8 % of normal weights lie below 0.1, 68 % below 1.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: A negative threshold.

    Cost:
        That of ``StandardConv`` plus one comparison a weight a pass; no speed is gained.

    Example:
        >>> conv = ThresholdSparseConv(2, 1, 1, 1, threshold=0.5)
        >>> conv.weight.data = torch.full((1, 1, 1, 1), 0.4 * 2**0.5)
        >>> conv.dense_weight().item()
        0.0
    """

    neutral: ClassVar[dict[str, Any] | None] = {"threshold": 0.0}

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
        threshold: float = 0.1,
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
        if not threshold >= 0:
            raise ConfigError(f"expected a threshold of at least 0, got {threshold}")
        self.threshold = threshold
        self.least = threshold * LEAKY_RELU_GAIN / prod(self.weight_shape[1:]) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` with the weights above the threshold."""
        return self.convolve(x, self.dense_weight())

    def dense_weight(self) -> Tensor:
        """The weight with zeros where it is below the threshold."""
        return torch.where(self.weight.abs() > self.least, self.weight, torch.zeros_like(self.weight))

    def extra_repr(self) -> str:
        """Geometry and character."""
        return f"{super().extra_repr()}, threshold={self.threshold}"
