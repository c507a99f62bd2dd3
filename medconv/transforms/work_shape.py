"""How many voxels a volume has at the spacing at which a network works."""

from __future__ import annotations

import math

from medconv.errors import GeometryError
from medconv.planning import Plan
from medconv.types import Geometry

_SAME_SPACING = 1e-3
_MAX_VOXELS = 2**31


def shape_at_work(plan: Plan, shape: tuple[int, ...], turned: Geometry, name: str) -> tuple[int, ...]:
    """The shape over the same field of view; axes whose spacing differs by at most 0.1 % keep theirs.

    Args:
        plan: Says the spacing, and whether it counts pixels.
        shape: ``*S``, three axes, in the orientation of the plan.
        turned: The geometry of that grid.
        name: What error messages call the volume.

    Raises:
        GeometryError: Too many voxels, or an image that does not say how large a pixel is where that matters.
    """
    spacing = _comparable_spacing(plan, turned, name)
    target = (*plan.spacing_mm, spacing[2])[:3]
    work = tuple(
        size if abs(mm / wanted - 1) <= _SAME_SPACING else max(1, round(size * mm / wanted))
        for size, mm, wanted in zip(shape, spacing, target, strict=True)
    )
    if math.prod(work) * plan.in_channels > _MAX_VOXELS:
        raise GeometryError(
            f"{name}: {shape} voxels of {_mm(turned.spacing_mm)} would become {work} at the plan's "
            f"{_mm(target)}, too many; check the spacing in the header, or crop the volume"
        )
    return work


def _comparable_spacing(plan: Plan, geometry: Geometry, name: str) -> tuple[float, ...]:
    """In the unit of the plan."""
    if plan.unit == geometry.unit:
        return geometry.spacing_mm
    if plan.unit == "px":  # trained without knowing how large a pixel is, so it is of no consequence here
        return (1.0,) * len(geometry.spacing_mm)
    raise GeometryError(
        f"{name}: expected an image that says how large a pixel is, because the network works at "
        f"{_mm(plan.spacing_mm)}; state it (--pixel-size-um, or pixel_size_um)"
    )


def _mm(spacing: tuple[float, ...]) -> str:
    return " × ".join(f"{mm:.4g}" for mm in spacing) + " mm"
