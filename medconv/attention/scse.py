"""Channel and spatial squeeze-and-excitation, side by side.

Source: Roy et al., "Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
MICCAI 2018; Roy et al., "Recalibrating Fully Convolutional Networks", IEEE TMI 2019.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from medconv.attention.base import Attention
from medconv.attention.channel import ChannelAttention
from medconv.attention.gating import Gate, check_gate
from medconv.attention.spatial import SpatialAttention
from medconv.errors import ConfigError
from medconv.ops import SymmetryGroup, full_group

Combine = Literal["max", "add"]


class SCSE(Attention):
    r"""Weigh the map by channel and by place at the same time, and join the two.

    .. math:: y = \max(g_c \, x, \; g_q \, x) \quad\text{or}\quad y = g_c \, x + g_q \, x

    ``g_c`` is the gate of ``ChannelAttention``, ``g_q`` that of ``SpatialAttention(kind="pointwise")``.
    Published for U-Nets on few cases. It commutes with every rotation and exchange of voxels.

    Args:
        reduction: Channels to a hidden unit of the channel gate.
        combine: ``"max"``: the larger of the two products, as first published; ``"add"``: their sum.
        gate: ``"centred"``: begins as the identity, bit by bit (the sum is halved for it). ``"sigmoid"``: the
            published form.

    Shape:
        - Input and output ``(B, channels, *S)``, any floating dtype; gates are computed in float32.

    Raises:
        ConfigError: Unknown combination or gate, or a reduction below 1.
        ShapeError: An input of another rank or channel count.

    Cost:
        Three passes over the feature map; ``2 * channels * hidden + channels`` weights.

    Example:
        >>> x = torch.randn(1, 8, 4, 4, 4)
        >>> torch.equal(SCSE(3, 8, combine="add")(x), x)
        True
    """

    is_blind_to_places = True

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        *,
        reduction: int = 8,
        combine: Combine = "max",
        gate: Gate = "centred",
    ) -> None:
        super().__init__(spatial_dims, channels)
        check_gate(gate, reduction)
        if combine not in get_args(Combine):
            raise ConfigError(f"expected combine 'max' or 'add', got {combine!r}")
        self.combine, self.gate = combine, gate
        self.channel = ChannelAttention(spatial_dims, channels, reduction=reduction, gate=gate)
        self.spatial = SpatialAttention(spatial_dims, channels, kind="pointwise", gate=gate)

    def forward(self, x: Tensor) -> Tensor:
        """Join ``x`` weighed by channel and ``x`` weighed by place."""
        self.check_input(x)
        by_channel = self.channel.gates(x).to(x.dtype).view(*x.shape[:2], *[1] * self.spatial_dims)
        by_place = self.spatial.gates(x).to(x.dtype)
        if self.combine == "max":
            return torch.maximum(x * by_channel, x * by_place)
        total = x * (by_channel + by_place)
        return total / 2 if self.gate == "centred" else total

    def symmetry(self) -> SymmetryGroup:
        """All of the grid."""
        return full_group(self.spatial_dims)

    def extra_repr(self) -> str:
        """Channels and combination."""
        return f"{self.channels}, combine={self.combine}"
