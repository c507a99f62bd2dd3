"""Channel attention, then spatial attention, in a row.

Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018.
"""

from __future__ import annotations

from torch import Tensor

from medconv.attention.base import Attention
from medconv.attention.channel import ChannelAttention
from medconv.attention.gating import Gate, check_gate
from medconv.attention.spatial import SpatialAttention
from medconv.ops import SymmetryGroup


class CBAM(Attention):
    r"""Turn channels up or down by their means and maxima, then places by what the channels show there.

    .. math:: y = g(W * [\max_c x', \mathrm{mean}_c \, x']) \, x', \qquad
        x' = g\left(f(\mathrm{mean}_S \, x) + f(\max_S x)\right) x

    Use it for small structures whose texture and place both matter. Prefer ``ChannelAttention`` alone where
    the time of two more passes over the map counts.

    Args:
        reduction: Channels to a hidden unit of the shared perceptron ``f``.
        kernel_size: Taps an axis of the spatial window; ``None``: 7 in 2-D, 5 in 3-D.
        symmetric: Tie the spatial kernel over all rotations and reflections of the grid.
        gate: ``"centred"`` (``2σ``, the identity at the start) or ``"sigmoid"`` (as published).

    Shape:
        - Input and output ``(B, channels, *S)``, any floating dtype; gates are computed in float32.

    Raises:
        ConfigError: Unknown gate, a reduction below 1 or an even kernel.
        ShapeError: An input of another rank or channel count.

    Cost:
        Five passes over the feature map; the weights of ``ChannelAttention`` and ``SpatialAttention``.

    Example:
        >>> import torch
        >>> x = torch.rand(2, 8, 6, 6)
        >>> torch.equal(CBAM(2, 8, symmetric=True)(x), x)
        True
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        *,
        reduction: int = 8,
        kernel_size: int | None = None,
        symmetric: bool = False,
        gate: Gate = "centred",
    ) -> None:
        super().__init__(spatial_dims, channels)
        check_gate(gate, reduction)
        self.channel = ChannelAttention(
            spatial_dims, channels, reduction=reduction, gate=gate, squeeze="mean_max"
        )
        self.spatial = SpatialAttention(
            spatial_dims, channels, kernel_size=kernel_size, symmetric=symmetric, gate=gate
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of ``x``, then its voxels."""
        self.check_input(x)
        return self.spatial(self.channel(x))

    def symmetry(self) -> SymmetryGroup | None:
        """That of the spatial kernel."""
        return self.spatial.symmetry()
