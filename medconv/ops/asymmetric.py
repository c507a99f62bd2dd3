"""Asymmetric convolution: lines and planes strengthen the axes of a kernel, and coarse axes get no taps.

Source: Ding et al., "ACNet: Strengthening the Kernel Skeletons for Powerful CNN", ICCV 2019; kernels of one
voxel across thick slices: Isensee et al., "nnU-Net", Nature Methods 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

from medconv.errors import ConfigError
from medconv.ndim import to_tuple
from medconv.ops.reparameterised import BranchNorm, KernelBranch, ReparameterisedConv
from medconv.types import IntOrInts

Skeleton = Literal["none", "lines", "planes"]

COARSE = 2.0
"""An axis whose voxel edge is more than so many times the smallest one gets a kernel of one voxel."""


class AsymmetricConv(ReparameterisedConv):
    r"""Convolution with flat branches beside the square kernel, merged into one kernel.

    .. math:: W = s_0 W_{k \times k} + s_1 W_{k \times 1} + s_2 W_{1 \times k}

    The branches add weight to the skeleton of the kernel: the lines along the axes, or in 3-D the planes
    between them. Along an axis whose voxels are more than twice as long as the smallest, the kernel is one
    voxel (nnU-Net's rule), as neighbours there have little in common.

    Use it where structures follow the axes of the scanner, or slices are thick. Prefer ``SymmetricConv``
    where orientation carries no meaning; ``FactorisedConv`` where the cost of a 3-D kernel is too high.

    Args:
        skeleton: ``"lines"`` (one branch an axis), ``"planes"`` (3-D: one for each pair of axes) or
            ``"none"``: the rectangular kernel alone.
        branch_norm: ``"scale"``: learned factors, merged in training too. ``"batch"``: ACNet's batch norm in
            each branch, merged in evaluation; needs large batches.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))``.

    Raises:
        ConfigError: An even kernel, an unknown ``skeleton`` or ``branch_norm``, or planes in 2-D.

    Cost:
        That of ``StandardConv`` plus merging the kernel once a pass; with ``"batch"`` in training one
        convolution a branch. ``fold`` gives the plain convolution exactly.

    Example:
        >>> conv = AsymmetricConv(3, 1, 8, spacing_mm=(3.0, 1.0, 1.0))
        >>> conv.kernel_size, [tuple(w.shape[2:]) for w in conv.weights]
        ((1, 3, 3), [(1, 3, 3), (1, 3, 1), (1, 1, 3)])
    """

    neutral: ClassVar[dict[str, Any] | None] = {"skeleton": "none"}

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
        skeleton: Skeleton = "lines",
        branch_norm: BranchNorm = "scale",
    ) -> None:
        if skeleton not in get_args(Skeleton):
            raise ConfigError(f"expected skeleton 'none', 'lines' or 'planes', got {skeleton!r}")
        if skeleton == "planes" and spatial_dims == 2:
            raise ConfigError("expected skeleton 'lines' or 'none' in 2-D, got 'planes': the kernel is one")
        taps = fine_kernel(kernel_size, spacing_mm, spatial_dims)
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            taps,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            spacing_mm=spacing_mm,
            branches=_branches(taps, skeleton),
            branch_norm=branch_norm,
        )
        self.skeleton = skeleton

    def extra_repr(self) -> str:
        """Geometry and character."""
        return f"{super().extra_repr()}, skeleton={self.skeleton}, branch_norm={self.branch_norm}"


def fine_kernel(
    kernel_size: IntOrInts, spacing_mm: Sequence[float] | None, spatial_dims: int
) -> tuple[int, ...]:
    """The kernel with one voxel along axes that are more than twice as coarse as the finest.

    Args:
        kernel_size: Taps per axis.
        spacing_mm: Voxel edges; ``None`` means isotropic.
        spatial_dims: 2 or 3.

    Example:
        >>> fine_kernel(3, (3.0, 1.0, 1.0), 3), fine_kernel(3, (2.0, 1.0, 1.0), 3)
        ((1, 3, 3), (3, 3, 3))
    """
    taps = to_tuple(kernel_size, spatial_dims, "kernel_size")
    edges = to_tuple(1.0 if spacing_mm is None else spacing_mm, spatial_dims, "spacing_mm")
    return tuple(1 if h > COARSE * min(edges) else k for k, h in zip(taps, edges, strict=True))


def _branches(taps: tuple[int, ...], skeleton: str) -> list[KernelBranch]:
    """The whole kernel first, then every flat one that is new."""
    shapes = [taps]
    for axis in range(len(taps)):
        if skeleton == "lines":
            shapes.append(tuple(k if a == axis else 1 for a, k in enumerate(taps)))
        elif skeleton == "planes":
            shapes.append(tuple(1 if a == axis else k for a, k in enumerate(taps)))
    flat = [s for s in dict.fromkeys(shapes) if s == taps or max(s) > 1]
    return [KernelBranch(shape, (1,) * len(taps)) for shape in flat]
