"""The attention gate of Attention U-Net: the decoder decides which places of a skip it wants to hear.

Source: Oktay et al., "Attention U-Net: Learning Where to Look for the Pancreas", MIDL 2018.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medconv.attention.base import SkipAttention
from medconv.attention.gating import Gate, check_gate, start_open, to_factors
from medconv.errors import ConfigError
from medconv.ndim import CONV_MODULE
from medconv.ops import SymmetryGroup, full_group, full_precision

GateNorm = Literal["instance", "none"]

_INSTANCE: dict[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


class AttentionGate(SkipAttention):
    r"""Multiply each voxel of a skip by a gate that the skip and the decoder's map agree on.

    .. math:: y = g\left(\psi^T \, \mathrm{relu}(W_x x + W_d d)\right) x, \qquad
        g(z) = 2 \sigma(z) \;\text{or}\; \sigma(z)

    Use it on the skips of a U-Net where most of the volume is not of interest. Two departures from the paper:
    the decoder's map ``d`` comes already upsampled to the grid of the skip, where the paper reduces the skip
    to the coarse grid, and norms are instance norms, where the paper's batch norms fail at batch 1. The last
    map has one channel and no norm, which would erase its mean.

    Args:
        hidden: Channels of the sum; ``None``: half of ``channels``.
        norm: Behind ``W_x`` and ``W_d``: ``"instance"`` or ``"none"``.
        gate: ``"centred"``, ``2σ`` with ``ψ = 0``: begins as the identity, bit by bit. ``"sigmoid"``: the
            published form, which begins by halving the skip.

    Shape:
        - Inputs: skip and decoder's map, both ``(B, channels, *S)``, any floating dtype.
        - Output ``(B, channels, *S)``.

    Raises:
        ConfigError: Unknown norm or gate, or ``hidden`` below 1.
        ShapeError: Maps of another rank or channel count, or of unequal shapes.

    Cost:
        ``2 * channels * hidden`` multiply-adds a voxel, and about eight passes over maps of ``hidden`` channels.

    Example:
        >>> skip, decoded = torch.rand(2, 1, 8, 4, 6, 6).unbind()
        >>> torch.equal(AttentionGate(3, 8)(skip, decoded), skip)
        True
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        *,
        hidden: int | None = None,
        norm: GateNorm = "instance",
        gate: Gate = "centred",
    ) -> None:
        super().__init__(spatial_dims, channels)
        check_gate(gate)
        if norm not in get_args(GateNorm):
            raise ConfigError(f"expected norm 'instance' or 'none', got {norm!r}")
        if hidden is not None and hidden < 1:
            raise ConfigError(f"expected hidden from 1, got {hidden}")
        self.gate = gate
        inner = hidden or max(channels // 2, 1)
        self.from_skip = _mix(spatial_dims, channels, inner, norm)
        self.from_decoded = _mix(spatial_dims, channels, inner, norm)
        self.last = CONV_MODULE[spatial_dims](inner, 1, 1)
        start_open(self.last, gate)

    def forward(self, skip: Tensor, decoded: Tensor) -> Tensor:
        """Multiply the voxels of ``skip`` by their gates."""
        return skip * self.gates(skip, decoded).to(skip.dtype)

    def gates(self, skip: Tensor, decoded: Tensor) -> Tensor:
        """The factor of each voxel, ``(B, 1, *S)``, in (0, 2) or (0, 1)."""
        self.check_inputs(skip, decoded)
        hidden = torch.relu(self.from_skip(skip) + self.from_decoded(decoded))
        assert isinstance(self.last.weight, Tensor)
        with full_precision(skip):
            return to_factors(self.last(hidden.to(self.last.weight.dtype)), self.gate)

    def symmetry(self) -> SymmetryGroup:
        """All of the grid: each voxel is judged by itself."""
        return full_group(self.spatial_dims)

    def extra_repr(self) -> str:
        """Channels and gate."""
        return f"{self.channels}, gate={self.gate}"


def _mix(spatial_dims: int, channels: int, hidden: int, norm: str) -> nn.Module:
    # the norm takes away what a bias would add
    conv = CONV_MODULE[spatial_dims](channels, hidden, 1, bias=norm == "none")
    return conv if norm == "none" else nn.Sequential(conv, _INSTANCE[spatial_dims](hidden, affine=True))
