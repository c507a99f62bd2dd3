"""Symmetric convolution: kernels that look the same from every side.

Source: Weiler & Cesa, "General E(2)-Equivariant Steerable CNNs", NeurIPS 2019 (the trivial representation);
Du et al., "SRE-Conv: Symmetric Rotation Equivariant Convolution", ISBI 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError, ShapeError
from medconv.kernels.tied_weight import tied_weight
from medconv.ops.base import ConvOp
from medconv.ops.expansion import expand_orbits
from medconv.ops.group_choice import choose_group
from medconv.ops.kernel_basis import KernelBasis, orbit_basis, ring_basis
from medconv.ops.precision import convolution_dtype
from medconv.ops.standard import LEAKY_RELU_GAIN
from medconv.ops.symmetry import SymmetryGroup, admissible, full_group
from medconv.types import IntOrInts

Basis = Literal["auto", "orbit", "ring"]

_AUTO = "say group='auto' to take all that the grid allows"
_RING_FROM = 5
"""Kernel size from which tying whole rings beats tying orbits under rotations between the right angles."""


class SymmetricConv(ConvOp):
    r"""Convolution whose kernel is tied, so that rotating the input rotates the output.

    .. math:: W[o, i, \delta] = \sum_{m=1}^{M} \theta[o, i, m] \; B_m[\delta], \qquad
        \sum_\delta B_m[\delta] B_{m'}[\delta] = 1\{m = m'\}

    *Orbit* basis: exactly the kernels that the group leaves as they are. *Ring* basis: functions of the
    physical radius, which also hold nearly under rotations between the right angles.

    Use it where orientation carries no meaning (cells, vessels in a slice, lesions) and cases are few: a
    3 x 3 x 3 kernel has 4 free numbers in place of 27. Prefer ``StandardConv`` where direction matters: a
    symmetric kernel has no odd part, so one layer sees no oriented edge. Where the z-axis is physically
    special although the grid allows its reversal (depth-dependent blur), say ``group="C4v"``.

    Args:
        basis: ``"orbit"``, ``"ring"``, or ``"auto"``: rings where a kernel axis has 5 taps or more and the
            group is all that the grid allows, orbits elsewhere.
        group: Schoenflies symbol (see ``named_group``), or ``"auto"``: all that spacing, kernel, stride and
            dilation allow: ``D4`` (8) or ``Oh`` (48) on an isotropic grid, ``D4h`` (16) on thick slices.
        axis: The special axis of ``C2 C4 C4v C4h D4 D4h`` in 3-D; ``None``: the one whose spacing or kernel
            differs from the other two, else 0.
        iso_ratio: Share of the output channels whose kernels are tied, 0 to 1 (no unit); the others are free and
            see directions. Below 1 the layer has no symmetry.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: An unknown basis or group, a group that the grid cannot have, or rings with a smaller
            group than rings have by nature; ``iso_ratio`` outside [0, 1].

    Cost:
        That of ``StandardConv`` plus writing out the kernel once a pass; ``fold`` saves the latter.
        The symmetry is exact where ``(S + 2 p - r (k - 1) - 1) % s == 0`` on every axis.

    Example:
        >>> conv = SymmetricConv(3, 1, 8, spacing_mm=(3.0, 1.0, 1.0))
        >>> conv.symmetry().name, conv.theta.shape
        ('D4h', torch.Size([8, 1, 6]))
    """

    tap_orbit: Tensor
    membership: Tensor
    orbit_size: Tensor
    basis_kernels: Tensor
    profile: Tensor | None
    neutral: ClassVar[dict[str, Any] | None] = {"basis": "orbit", "group": "C1"}

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
        basis: Basis = "auto",
        group: str = "auto",
        axis: int | None = None,
        iso_ratio: float = 1.0,
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
        allowed = self._restrict(full_group(spatial_dims), self.spacing_mm)
        self.group = allowed if group == "auto" else choose_group(group, axis, allowed, self, _AUTO)
        self.basis = _choose_basis(basis, self.kernel_size, self.group, allowed)
        if not 0.0 <= iso_ratio <= 1.0:
            raise ConfigError(f"expected iso_ratio from 0 to 1, got {iso_ratio}")
        self.iso_ratio = iso_ratio
        kernels = self._kernel_basis()
        tied, (inputs, *taps) = round(iso_ratio * out_channels), self.weight_shape[1:]
        self.theta = nn.Parameter(torch.empty(tied, inputs, len(kernels)))
        nn.init.normal_(self.theta, std=LEAKY_RELU_GAIN / (inputs * len(kernels)) ** 0.5)
        self.free = None
        if tied < out_channels:
            self.free = nn.Parameter(torch.empty(out_channels - tied, inputs, *taps))
            nn.init.normal_(self.free, std=LEAKY_RELU_GAIN / prod(self.weight_shape[1:]) ** 0.5)
        # derived from the geometry, so checkpoints need none of them
        is_ring = self.basis == "ring"
        self.register_buffer("tap_orbit", kernels.tap_orbit, persistent=False)
        members = F.one_hot(kernels.tap_orbit, len(kernels.orbit_size)).to(self.theta)
        self.register_buffer("membership", members, persistent=False)
        self.register_buffer("orbit_size", kernels.orbit_size, persistent=False)
        self.register_buffer("basis_kernels", kernels.kernels().flatten(1).to(self.theta), persistent=False)
        self.register_buffer("profile", kernels.profile.to(self.theta) if is_ring else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` with the written-out kernel."""
        if self.free is None:
            weight = tied_weight(self.theta, self.basis_kernels, self.kernel_size, x, convolution_dtype(x))
            if weight is not None:
                return self.convolve(x, weight)
        return self.convolve(x, self.dense_weight())

    def dense_weight(self) -> Tensor:
        """The kernel written out, shape ``weight_shape``; exactly symmetric in any dtype."""
        # products and sums only: a matrix product would be rounded by autocast and by TF32
        if self.profile is None:
            values = self.theta * self._orbit_scale
        else:
            values = torch.zeros((), dtype=self.theta.dtype, device=self.theta.device)
            for m, ring in enumerate(self.profile):
                values = values + self.theta[..., m, None] * ring
        taps = expand_orbits(values, self.tap_orbit, self.membership)
        tied = taps.reshape(-1, *self.weight_shape[1:])
        return tied if self.free is None else torch.cat([tied, self.free])

    def project(self, dense: Tensor) -> Tensor:
        """Coefficients ``theta`` of the nearest kernel that this operator can have.

        With orbits that is the average over the group; projecting a written-out kernel gives it back.
        ``convert`` does it for a whole network.

        Args:
            dense: Any kernel of shape ``weight_shape``; with ``iso_ratio`` below 1 only its tied part counts.

        Raises:
            ShapeError: Another shape.

        Example:
            >>> conv = SymmetricConv(2, 1, 1, group="D4")
            >>> conv.theta.data = conv.project(torch.arange(9.0).reshape(1, 1, 3, 3) ** 2)
            >>> conv.dense_weight().detach().squeeze()
            tensor([[26., 21., 26.],
                    [21., 16., 21.],
                    [26., 21., 26.]])
        """
        if dense.shape != self.weight_shape:
            raise ShapeError(f"expected a kernel of shape {self.weight_shape}, got {tuple(dense.shape)}")
        dense = dense[: len(self.theta)]
        sums = dense.new_zeros(*dense.shape[:2], len(self.orbit_size))
        sums = sums.index_add(-1, self.tap_orbit, dense.flatten(2))
        if self.profile is None:
            return sums * self._orbit_scale
        return torch.stack([(sums * ring).sum(-1) for ring in self.profile], dim=-1)

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """The elements of ``group`` that keep spacing, kernel, stride and dilation; ``None``: no others."""
        if self.free is not None:
            return None
        kept = self._restrict(self.group, self.spacing_mm if spacing_mm is None else spacing_mm)
        return kept if kept.order > 1 else None

    def extra_repr(self) -> str:
        """Geometry and character."""
        share = "" if self.free is None else f", iso_ratio={self.iso_ratio}"
        return f"{super().extra_repr()}, basis={self.basis}, group={self.group.name}{share}"

    @torch.no_grad()
    def load_dense(self, dense: Tensor) -> None:
        """Take over the nearest kernel to a plain one, of shape ``weight_shape``."""
        self.theta.copy_(self.project(dense))
        if self.free is not None:
            self.free.copy_(dense[len(self.theta) :])

    @property
    def _orbit_scale(self) -> Tensor:
        # from the integer sizes, so that it is exact after .double() as well
        return self.orbit_size.to(self.theta.dtype).rsqrt()

    def _restrict(self, group: SymmetryGroup, spacing_mm: Sequence[float]) -> SymmetryGroup:
        return admissible(group, spacing_mm, self.kernel_size, self.stride, self.dilation)

    def _kernel_basis(self) -> KernelBasis:
        if self.basis == "orbit":
            return orbit_basis(self.kernel_size, self.group)
        distance = [h * r for h, r in zip(self.spacing_mm, self.dilation, strict=True)]
        return ring_basis(self.kernel_size, distance, self.group)


def _choose_basis(
    basis: str, kernel_size: tuple[int, ...], group: SymmetryGroup, allowed: SymmetryGroup
) -> Literal["orbit", "ring"]:
    if basis not in get_args(Basis):
        raise ConfigError(f"expected basis 'auto', 'orbit' or 'ring', got {basis!r}")
    if basis == "ring" and group != allowed:
        raise ConfigError(
            f"rings have the whole symmetry of the grid, {allowed.name!r}, so group {group.name!r} "
            f"would have no effect; say basis='orbit' to have the smaller group, or group='auto'"
        )
    if basis == "auto":
        return "ring" if max(kernel_size) >= _RING_FROM and group == allowed else "orbit"
    return "ring" if basis == "ring" else "orbit"
