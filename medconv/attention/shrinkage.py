"""Channel-wise shrinkage: small values of a channel are noise, how small the channel itself decides.

Source: Zhao et al., "Deep Residual Shrinkage Networks for Fault Diagnosis", IEEE Transactions on Industrial
Informatics 2020; Donoho, "De-noising by Soft-Thresholding", 1995.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medconv.attention.base import Attention
from medconv.attention.gating import Perceptron
from medconv.errors import ConfigError
from medconv.ops import SymmetryGroup, full_group, full_precision

Start = Literal["identity", "shrunk"]


class ChannelShrinkage(Attention):
    r"""Soft-threshold each channel at a learned share of its mean magnitude.

    .. math:: y = x - \gamma_c \, \mathrm{clip}(x, -\tau_c, \tau_c), \qquad
        \tau_c = \sigma(z)_c \; \mathrm{mean}_S |x_c|, \qquad z = f(\mathrm{mean}_S |x|)

    At ``γ = 1`` that is ``sign(x) relu(|x| - τ)``, soft-thresholding. Use it where images are noisy: multiplying a
    channel leaves its signal-to-noise ratio as it was, a threshold does not.

    Args:
        reduction: Channels to a hidden unit of the perceptron ``f``.
        start: ``"identity"``: ``γ`` is learned, one a channel, from 0, so the layer begins as the identity, bit
            by bit. ``"shrunk"``: ``γ`` is 1, as published.

    Shape:
        - Input and output ``(B, channels, *S)``, any floating dtype; thresholds are computed in float32.

    Raises:
        ConfigError: Unknown start or a reduction below 1.
        ShapeError: An input of another rank or channel count.

    Cost:
        Two passes over the feature map; ``2 * channels * hidden`` weights.

    Example:
        >>> layer = ChannelShrinkage(2, 1, start="shrunk")
        >>> layer.thresholds(torch.tensor([[[[-1.0, 3.0]]]])).item() < 2
        True

    Source: Departs from the paper in having no batch norm inside ``f``, which fails at batch 1.
    """

    is_blind_to_places = True

    def __init__(
        self, spatial_dims: int, channels: int, *, reduction: int = 8, start: Start = "identity"
    ) -> None:
        super().__init__(spatial_dims, channels)
        if start not in get_args(Start) or reduction < 1:
            raise ConfigError(
                f"expected start 'identity' or 'shrunk' and reduction from 1, got {start!r}, {reduction}"
            )
        self.start = start
        self.excite = Perceptron(channels, reduction)
        self.gamma = nn.Parameter(torch.zeros(channels)) if start == "identity" else None

    def forward(self, x: Tensor) -> Tensor:
        """Shrink the values of ``x`` towards zero."""
        limits = self._spread(self.thresholds(x).to(x.dtype))
        small = torch.maximum(torch.minimum(x, limits), -limits)
        return x - (small if self.gamma is None else self._spread(self.gamma.to(x.dtype)) * small)

    def thresholds(self, x: Tensor) -> Tensor:
        """``τ`` of each case and channel, ``(B, channels)``: positive, below the mean magnitude."""
        self.check_input(x)
        with full_precision(x):
            precise = torch.promote_types(x.dtype, torch.float32)
            means = x.abs().mean(dim=tuple(range(2, x.dim())), dtype=precise)
            means = means.to(self.excite.last.weight.dtype)
            return torch.sigmoid(self.excite(means)) * means

    def symmetry(self) -> SymmetryGroup:
        """All of the grid: a mean over space does not change when voxels change places."""
        return full_group(self.spatial_dims)

    def extra_repr(self) -> str:
        """Channels and start."""
        return f"{self.channels}, start={self.start}"

    def _spread(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape, *[1] * self.spatial_dims)
