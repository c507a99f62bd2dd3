"""Orthonormal bases of symmetric kernels: what every one of their weights is a sum of.

A basis kernel is constant on each orbit, the set of taps that the symmetry carries into one another. So a
basis is two small tables: the orbit of each tap, and the value of each basis kernel on each orbit.

Orthonormality is not decoration. Because of it a gradient step on the coefficients is the symmetric part of
the step on the dense kernel, weight decay means the same on both, and the usual initial variance is right.

Source: Knutsson & Granlund, "Signal Processing for Computer Vision", 1995 (rings); Weiler & Cesa, "General
E(2)-Equivariant Steerable CNNs", NeurIPS 2019 (orbits as the trivial representation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from medconv.ops.symmetry import SymmetryGroup

_DEPENDENT = 1e-9
"""A ring whose length falls to this share of itself adds no direction of its own."""


@dataclass(frozen=True)
class KernelBasis:
    """``M`` orthonormal kernels that are constant on ``U`` orbits.

    Args:
        kernel_size: Taps per axis.
        tap_orbit: ``(prod(kernel_size),)`` int64: the orbit of each tap, 0 to ``U - 1``.
        orbit_size: ``(U,)`` int64: taps in each orbit.
        profile: ``(M, U)`` float64: the value of each basis kernel on each orbit.
    """

    kernel_size: tuple[int, ...]
    tap_orbit: Tensor
    orbit_size: Tensor
    profile: Tensor

    def __len__(self) -> int:
        return len(self.profile)

    def kernels(self) -> Tensor:
        """The basis written out, ``(M, *kernel_size)`` float64."""
        return self.profile[:, self.tap_orbit].reshape(len(self), *self.kernel_size)


def orbit_basis(kernel_size: tuple[int, ...], group: SymmetryGroup) -> KernelBasis:
    r"""One basis kernel an orbit: :math:`B_m(\delta) = 1/\sqrt{n_m}` on its ``n_m`` taps, else 0.

    Spans exactly the kernels that every element of ``group`` leaves as they are.

    Args:
        kernel_size: Taps per axis; equal on axes that the group exchanges.
        group: The symmetry.

    Example:
        >>> from medconv.ops.symmetry import named_group
        >>> basis = orbit_basis((3, 3), named_group("D4", 2))
        >>> basis.tap_orbit.tolist(), basis.orbit_size.tolist()
        ([0, 1, 0, 1, 2, 1, 0, 1, 0], [4, 4, 1])
    """
    tap_orbit, orbit_size = _orbits(kernel_size, group)
    return KernelBasis(kernel_size, tap_orbit, orbit_size, orbit_size.double().rsqrt().diag())


def ring_basis(
    kernel_size: tuple[int, ...], tap_distance_mm: Sequence[float], group: SymmetryGroup
) -> KernelBasis:
    r"""Hat functions of the physical radius, orthonormalised: nearly symmetric under every rotation.

    .. math:: \varphi_m(\rho) = \max(0, 1 - |\rho / \Delta - m|), \quad m = 0 \dots \lfloor R / \Delta \rfloor

    ``Δ`` is the smallest distance between taps. ``R`` is the smallest half extent of the kernel, but reaches
    the first neighbour on every axis, so that no axis of a coarse grid goes unseen; taps beyond ``R + Δ``
    stay zero.

    Args:
        kernel_size: Taps per axis; equal on axes that the group exchanges.
        tap_distance_mm: Distance between neighbouring taps per axis: spacing times dilation.
        group: The symmetry of the grid; radii are averaged over its orbits, so it holds exactly.

    Example:
        >>> from medconv.ops.symmetry import full_group
        >>> len(ring_basis((7, 7), (1.0, 1.0), full_group(2)))
        4
    """
    tap_orbit, orbit_size = _orbits(kernel_size, group)
    places = torch.tensor(_taps(kernel_size), dtype=torch.float64) * torch.tensor(
        tap_distance_mm, dtype=torch.float64
    )
    radius = torch.zeros(len(orbit_size), dtype=torch.float64).index_add(0, tap_orbit, places.norm(dim=1))
    radius = radius / orbit_size
    extended = [(k, h) for k, h in zip(kernel_size, tap_distance_mm, strict=True) if k > 1]
    step = min((h for _, h in extended), default=1.0)
    reach = max(
        min(((k - 1) / 2 * h for k, h in extended), default=0.0), max((h for _, h in extended), default=0.0)
    )
    rings = torch.arange(int(reach / step + 1e-9) + 1, dtype=torch.float64)
    hats = (1 - (radius / step - rings[:, None]).abs()).clamp(min=0)
    weight = orbit_size.double().sqrt()
    return KernelBasis(kernel_size, tap_orbit, orbit_size, _orthonormal(hats * weight) / weight)


def _orbits(kernel_size: tuple[int, ...], group: SymmetryGroup) -> tuple[Tensor, Tensor]:
    """The orbit of each tap, and the number of taps in each orbit."""
    taps = _taps(kernel_size)
    position = {tap: i for i, tap in enumerate(taps)}
    tap_orbit = torch.full((len(taps),), -1)
    sizes: list[int] = []
    for tap in taps:
        if tap_orbit[position[tap]] >= 0:
            continue
        orbit = {tuple(sum(a * b for a, b in zip(row, tap, strict=True)) for row in g) for g in group}
        tap_orbit[[position[t] for t in orbit]] = len(sizes)
        sizes.append(len(orbit))
    return tap_orbit, torch.tensor(sizes)


def _taps(kernel_size: tuple[int, ...]) -> list[tuple[float, ...]]:
    """Places of the taps, counted from the centre of the kernel."""
    return list(product(*([i - (k - 1) / 2 for i in range(k)] for k in kernel_size)))


def _orthonormal(rows: Tensor) -> Tensor:
    """Gram-Schmidt in the given order; rows without a direction of their own are left out."""
    kept: list[Tensor] = []
    for row in rows:
        rest = row
        for _ in range(2):  # a second pass removes what rounding left of the first
            for unit in kept:
                rest = rest - (unit @ rest) * unit
        if rest.norm() > _DEPENDENT * max(float(row.norm()), 1.0):
            kept.append(rest / rest.norm())
    return torch.stack(kept)
