"""Large kernel convolution: a wide view, trained with small kernels beside it.

Source: Ding et al., "Scaling Up Your Kernels to 31x31" (RepLKNet), CVPR 2022, and "UniRepLKNet", CVPR 2024;
growing kernels: Roy et al., "MedNeXt", MICCAI 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError, ShapeError
from medconv.ndim import LINEAR_MODE, to_tuple
from medconv.ops.reparameterised import BranchNorm, KernelBranch, ReparameterisedConv
from medconv.types import IntOrInts


class LargeKernelConv(ReparameterisedConv):
    r"""A kernel of 5, 7 or more voxels, trained as a sum with small and with dilated kernels.

    .. math:: W = s_0 W_{k} + \sum_b s_b \; \text{pad}(W_{3, r_b})

    A large kernel alone learns slowly; the branches with three taps at every distance that fits give it the
    small structures first. All are merged into one kernel: exactly, bias included, and with
    ``branch_norm="scale"`` in training as well.

    Use it depthwise (``groups = in_channels``, as ``MedNeXtBlock`` does) where context beyond three voxels
    decides and compute is there: published gains of 5 over 3 voxels are small (0.04 Dice over six datasets
    for three times the time). The kernel size is geometry: say ``kernel_sizes`` of the network.

    Args:
        branches: Pairs of taps and dilation; ``None``: three taps at distances 1, 2, … as far as they fit.
            Along an axis where a branch does not fit it is shortened.
        branch_norm: ``"scale"``: learned factors. ``"batch"``: batch norm in each branch as published;
            needs large batches.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))``.

    Raises:
        ConfigError: An even kernel, a branch that spans more than the kernel, or an unknown ``branch_norm``.

    Cost:
        That of ``StandardConv`` with the same kernel plus merging it once a pass; with ``"batch"`` in training
        one convolution a branch. ``fold`` gives the plain convolution exactly.

    Example:
        >>> conv = LargeKernelConv(3, 8, 8, 7, groups=8)
        >>> [(b.kernel_size[0], b.dilation[0]) for b in conv.branches]
        [(7, 1), (3, 1), (3, 2), (3, 3)]
    """

    neutral: ClassVar[dict[str, Any] | None] = {"branches": []}

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
        branches: list[tuple[int, int]] | None = None,
        branch_norm: BranchNorm = "scale",
    ) -> None:
        taps = to_tuple(kernel_size, spatial_dims, "kernel_size")
        if branches is None:
            branches = [(3, r) for r in range(1, (max(taps) + 1) // 2)]
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
            branches=_fit_branches(taps, branches),
            branch_norm=branch_norm,
        )

    @torch.no_grad()
    def grow_from(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Take over a trained smaller kernel, enlarged by interpolation; the branches beside it start at zero.

        Args:
            weight: A kernel of the same channels, such as ``dense_weight()`` of a trained operator.
            bias: What it adds to each channel, such as its ``dense_bias()``.

        Raises:
            ConfigError: The operator has batch norms, whose statistics the kernel cannot have.
            ShapeError: Other channels.
        """
        if self.branch_norm == "batch":
            raise ConfigError("expected branch_norm 'scale' to take over a kernel, got 'batch'")
        if tuple(weight.shape[:2]) != self.weight_shape[:2]:
            raise ShapeError(
                f"expected a kernel of {self.weight_shape[:2]} channels, got {tuple(weight.shape[:2])}"
            )
        self.weights[0].copy_(grow_kernel(weight, self.kernel_size))
        for n, scale in enumerate(self.scales):
            nn.init.constant_(scale, 0.0 if n else 1.0)
        if self.bias is not None:
            self.bias.zero_() if bias is None else self.bias.copy_(bias)

    def extra_repr(self) -> str:
        """Geometry and character."""
        sizes = [(b.kernel_size, b.dilation) for b in self.branches[1:]]
        return f"{super().extra_repr()}, branches={sizes}, branch_norm={self.branch_norm}"


def grow_kernel(weight: Tensor, kernel_size: IntOrInts, preserve: Literal["dc", "energy"] = "dc") -> Tensor:
    """Enlarge a trained kernel by linear interpolation and rescale it.

    Interpolation alone multiplies the answer to a constant image (the DC gain), about 4.5 times from 3³ to 5³;
    here each kernel keeps its sum, or its energy where only white noise is to pass as before.

    Args:
        weight: ``(O, I, *kernel)``.
        kernel_size: Taps per axis of the result, none fewer than before.
        preserve: ``"dc"``: the mean gain that interpolation causes is taken back for every kernel alike, and
            what rounding at the ends of the kernel leaves is spread over its taps. ``"energy"``: the sum of
            squares of each kernel.

    Raises:
        ConfigError: A smaller kernel, or another word for ``preserve``.

    Example:
        >>> kernel = torch.arange(9.0).reshape(1, 1, 3, 3)
        >>> grown = grow_kernel(kernel, 5)
        >>> tuple(grown.shape), round(grown.sum().item(), 3) == kernel.sum().item()
        ((1, 1, 5, 5), True)
    """
    dims = weight.dim() - 2
    taps = to_tuple(kernel_size, dims, "kernel_size")
    before = tuple(weight.shape[2:])
    if any(new < old for new, old in zip(taps, before, strict=True)):
        raise ConfigError(f"expected a kernel of at least {before} taps, got {taps}")
    if preserve not in ("dc", "energy"):
        raise ConfigError(f"expected preserve 'dc' or 'energy', got {preserve!r}")
    grown = F.interpolate(weight, taps, mode=LINEAR_MODE[dims], align_corners=True)
    axes = tuple(range(2, weight.dim()))
    if preserve == "energy":
        energy = [w.square().sum(dim=axes, keepdim=True) for w in (weight, grown)]
        return grown * (energy[0] / energy[1].clamp(min=torch.finfo(weight.dtype).tiny)).sqrt()
    grown = grown * (prod(before) / prod(taps))
    missing = weight.sum(dim=axes, keepdim=True) - grown.sum(dim=axes, keepdim=True)
    return grown + missing / prod(taps)


def _fit_branches(taps: tuple[int, ...], branches: Sequence[tuple[int, int]]) -> list[KernelBranch]:
    """The whole kernel first, then the branches, shortened along axes on which they do not fit."""
    ones = (1,) * len(taps)
    fitted = [KernelBranch(taps, ones)]
    for size, rate in branches:
        if size % 2 == 0 or min(size, rate) < 1 or rate * (size - 1) + 1 > max(taps):
            raise ConfigError(
                f"expected branches of odd taps that span at most the kernel {taps}, got {size} taps at "
                f"dilation {rate}, which span {rate * (size - 1) + 1}"
            )
        shape = tuple(min(size, 2 * ((k - 1) // (2 * rate)) + 1) for k in taps)
        fitted.append(KernelBranch(shape, tuple(rate if k > 1 else 1 for k in shape)))
    return list(dict.fromkeys(fitted))
