"""What a step to a coarser grid does to the voxel size and to the guide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from medconv.ndim import AVG_POOL, to_tuple


def coarser_spacing(spacing_mm: Sequence[float] | None, stride: Sequence[int]) -> tuple[float, ...]:
    """Voxel size after a step of ``stride`` voxels; ``None`` is size 1.

    Example:
        >>> coarser_spacing((3.0, 1.0, 1.0), (1, 2, 2))
        (3.0, 2.0, 2.0)
    """
    spacing = to_tuple(1.0 if spacing_mm is None else spacing_mm, len(stride), "spacing_mm")
    return tuple(h * s for h, s in zip(spacing, stride, strict=True))


def coarser_guide(guide: Tensor | None, stride: Sequence[int]) -> Tensor | None:
    """Average the guide over ``stride`` voxels an axis: ``(B, 1, *S)`` to ``(B, 1, *ceil(S / stride))``.

    Averages keep every rotation and reflection exact; at an odd border fewer voxels are averaged.
    """
    if guide is None or max(stride) == 1:
        return guide
    return AVG_POOL[guide.dim() - 2](guide, tuple(stride), ceil_mode=True)


def guide_pyramid(guide: Tensor | None, strides: Iterable[Sequence[int]]) -> list[Tensor | None]:
    """The guide at every stage; ``strides[i]`` leads from stage ``i - 1`` to stage ``i``."""
    pyramid = []
    for stride in strides:
        guide = coarser_guide(guide, stride)
        pyramid.append(guide)
    return pyramid
