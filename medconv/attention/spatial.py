"""Spatial attention: turn places up or down, from what all channels show there.

Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018; ``kind="pointwise"`` is the spatial
half of Roy et al., "Concurrent Spatial and Channel Squeeze & Excitation", MICCAI 2018.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from medconv.attention.base import Attention
from medconv.attention.gating import Gate, check_gate, start_open, to_factors
from medconv.errors import ConfigError
from medconv.ops import ConvOp, StandardConv, SymmetricConv, SymmetryGroup, full_group, full_precision

SpatialKind = Literal["window", "pointwise"]

_KERNEL = {2: 7, 3: 5}
"""Seven taps as published; in 3-D that would be 686 weights for one number a voxel."""


class SpatialAttention(Attention):
    r"""Multiply each voxel by a gate that is computed from its surroundings, the same for all channels.

    .. math:: y(q) = g(z(q)) \, x(q), \qquad z = W * [\max_c x, \; \mathrm{mean}_c \, x], \qquad
        g(z) = 2 \sigma(z) \;\text{or}\; \sigma(z)

    With ``kind="pointwise"``, ``z`` is a weighted sum of the channels at the voxel itself.

    Use it where the structure is small against the volume. A free kernel sees directions; where rotations must
    stay exact say ``symmetric=True`` or ``kind="pointwise"``.

    Args:
        kind: ``"window"`` or ``"pointwise"``.
        kernel_size: Taps an axis of the window; ``None``: 7 in 2-D, 5 in 3-D. Only for ``"window"``.
        symmetric: Tie the kernel over all rotations and reflections of the grid. Only for ``"window"``.
        gate: ``"centred"``, ``2σ`` of a layer of zeros: begins as the identity, bit by bit. ``"sigmoid"``: the
            published form, which begins by halving the signal.

    Shape:
        - Input and output ``(B, channels, *S)``, any floating dtype; the gate is computed in float32.

    Raises:
        ConfigError: Unknown kind or gate, an even kernel, or an option that the kind does not have.
        ShapeError: An input of another rank or channel count.

    Cost:
        Two passes over the feature map, and ``2 * kernel_size ** spatial_dims`` multiply-adds a voxel.

    Example:
        >>> x = torch.rand(1, 16, 4, 8, 8)
        >>> torch.equal(SpatialAttention(3, 16)(x), x)
        True
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        *,
        kind: SpatialKind = "window",
        kernel_size: int | None = None,
        symmetric: bool = False,
        gate: Gate = "centred",
    ) -> None:
        super().__init__(spatial_dims, channels)
        check_gate(gate)
        if kind not in get_args(SpatialKind):
            raise ConfigError(f"expected kind 'window' or 'pointwise', got {kind!r}")
        if kind == "pointwise" and (kernel_size is not None or symmetric):
            raise ConfigError(
                "kernel_size and symmetric have no effect with kind='pointwise', which sees one voxel; "
                "leave them out"
            )
        self.gate, self.kind = gate, kind
        self.is_blind_to_places = kind == "pointwise"
        self.conv = self._build_conv(kernel_size or _KERNEL[spatial_dims], symmetric)
        self.group = self.conv.symmetry()
        start_open(self.conv, gate)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the voxels of ``x`` by their gates."""
        return x * self.gates(x).to(x.dtype)

    def gates(self, x: Tensor) -> Tensor:
        """The factor of each voxel, ``(B, 1, *S)``, in (0, 2) or (0, 1)."""
        self.check_input(x)
        # the bias and not the weight: a symmetric or a folded convolution names its weight otherwise
        assert isinstance(self.conv.bias, Tensor)
        with full_precision(x):
            if self.kind == "window":
                precise = torch.promote_types(x.dtype, torch.float32)
                mean = x.mean(dim=1, keepdim=True, dtype=precise)
                x = torch.cat([x.amax(dim=1, keepdim=True).to(precise), mean], dim=1)
            return to_factors(self.conv(x.to(self.conv.bias.dtype)), self.gate)

    def symmetry(self) -> SymmetryGroup | None:
        """What the kernel has: everything where it is symmetric or pointwise, nothing where it is free."""
        return full_group(self.spatial_dims) if self.kind == "pointwise" else self.group

    def extra_repr(self) -> str:
        """Channels, kind and gate."""
        return f"{self.channels}, kind={self.kind}, gate={self.gate}"

    def _build_conv(self, kernel_size: int, symmetric: bool) -> ConvOp:
        if self.kind == "pointwise":
            return StandardConv(self.spatial_dims, self.channels, 1, 1)
        if symmetric:
            return SymmetricConv(self.spatial_dims, 2, 1, kernel_size)
        return StandardConv(self.spatial_dims, 2, 1, kernel_size)
