"""One kernel trained as several: branches that are merged into a single convolution.

Source: Ding et al., "RepVGG", CVPR 2021; Hu et al., "Online Convolutional Re-parameterization", CVPR 2022
(branches with scales instead of norms are merged while training).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.ndim import BATCH_NORM, CONV, same_padding
from medconv.ops.base import ConvOp
from medconv.ops.standard import LEAKY_RELU_GAIN, pointwise_symmetry
from medconv.ops.symmetry import SymmetryGroup
from medconv.types import IntOrInts

BranchNorm = Literal["scale", "batch"]


@dataclass(frozen=True)
class KernelBranch:
    """A small kernel that lies, centred, inside a larger one.

    Args:
        kernel_size: Taps per axis.
        dilation: Distance between its taps per axis, in taps of the larger kernel.
    """

    kernel_size: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Taps of the larger kernel that it spans, per axis."""
        return tuple(r * (k - 1) + 1 for k, r in zip(self.kernel_size, self.dilation, strict=True))


class ReparameterisedConv(ConvOp):
    r"""Base of operators whose kernel is trained as a sum of branches, each with its own size.

    .. math:: W = \sum_b s_b \; \text{pad}(W_b)

    With ``branch_norm="scale"`` the scales ``s_b`` are learned, one a channel, and the sum is taken before
    the convolution: one pass in training as well. With ``"batch"`` each branch is convolved and
    batch-normalised by itself in training, and merged with its statistics in evaluation. Norms whose
    statistics come from the input (instance, group) cannot be merged.

    Args:
        branches: All branches; none spans more than the kernel.
        branch_norm: ``"scale"`` or ``"batch"``; the latter only for batches of many samples.

    Raises:
        ConfigError: An even kernel (branches need one centre) or an unknown ``branch_norm``.
    """

    @abstractmethod  # so that it is no operator of the catalogue by itself
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
        branches: Sequence[KernelBranch] = (),
        branch_norm: BranchNorm = "scale",
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
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ConfigError(f"expected odd kernel sizes, which have a centre voxel, got {self.kernel_size}")
        if branch_norm not in get_args(BranchNorm):
            raise ConfigError(
                f"expected branch_norm 'scale' or 'batch', got {branch_norm!r}; norms with statistics of the "
                "input cannot be merged into a kernel"
            )
        self.branches, self.branch_norm = tuple(branches), branch_norm
        shapes = [(*self.weight_shape[:2], *branch.kernel_size) for branch in branches]
        self.weights = nn.ParameterList(nn.Parameter(_initial(shape, len(shapes))) for shape in shapes)
        is_batch = branch_norm == "batch"
        norm, number = BATCH_NORM[spatial_dims], len(shapes)
        self.norms = nn.ModuleList(norm(out_channels) for _ in range(number if is_batch else 0))
        self.scales = nn.ParameterList(
            nn.Parameter(torch.ones(out_channels)) for _ in range(0 if is_batch else number)
        )
        with torch.no_grad():
            for layer in self.norms:
                layer.weight.fill_(number**-0.5)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` with the merged kernel; with batch norm in training, with each branch in turn."""
        if self.branch_norm == "batch" and self.training:
            return self._apart(x)
        self.check_input(x)
        return CONV[self.spatial_dims](
            x,
            self.dense_weight(),
            self.dense_bias(),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )

    def dense_weight(self) -> Tensor:
        """The merged kernel, shape ``weight_shape``; with batch norm that of evaluation."""
        merged = [
            self._placed(weight, branch) * scale.reshape(-1, *[1] * (weight.dim() - 1))
            for weight, branch, scale in zip(self.weights, self.branches, self._scales(), strict=True)
        ]
        return torch.stack(merged).sum(dim=0)

    def dense_bias(self) -> Tensor | None:
        """The bias with what the batch norms of the branches add."""
        if not self.norms:
            return self.bias
        shifts = [
            norm.bias - norm.running_mean * scale  # type: ignore[operator]
            for norm, scale in zip(self.norms, self._scales(), strict=True)
        ]
        return sum(shifts, torch.zeros_like(shifts[0]) if self.bias is None else self.bias)

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """Nothing, except for kernel 1."""
        return pointwise_symmetry(self, spacing_mm)

    def _scales(self) -> list[Tensor]:
        """What each output channel of each branch is multiplied by, in evaluation."""
        if not self.norms:
            return list(self.scales)
        return [norm.weight * (norm.running_var + norm.eps).rsqrt() for norm in self.norms]  # type: ignore[operator]

    def _apart(self, x: Tensor) -> Tensor:
        self.check_input(x)
        outputs = []
        for weight, branch, norm in zip(self.weights, self.branches, self.norms, strict=True):
            dilation = tuple(d * r for d, r in zip(self.dilation, branch.dilation, strict=True))
            padding = same_padding(branch.kernel_size, self.stride, dilation)
            y = CONV[self.spatial_dims](x, weight, None, self.stride, padding, dilation, self.groups)
            outputs.append(norm(y))
        total = torch.stack(outputs).sum(dim=0)
        return total if self.bias is None else total + self.bias.reshape(-1, *[1] * self.spatial_dims)

    def _placed(self, weight: Tensor, branch: KernelBranch) -> Tensor:
        """The branch's kernel in the middle of one of the full size, zeros around and between its taps."""
        if max(branch.dilation) > 1:
            spread = weight.new_zeros(*weight.shape[:2], *branch.extent)
            place: tuple[Any, ...] = (..., *(slice(None, None, r) for r in branch.dilation))
            spread[place] = weight
            weight = spread
        margins = [(k - e) // 2 for k, e in zip(self.kernel_size, branch.extent, strict=True)]
        return F.pad(weight, [m for m in reversed(margins) for _ in range(2)]) if max(margins) else weight


def _initial(shape: tuple[int, ...], number: int) -> Tensor:
    """He's weights; the branches share the variance."""
    weight = torch.empty(shape)
    nn.init.normal_(weight, std=LEAKY_RELU_GAIN / (prod(shape[1:]) * number) ** 0.5)
    return weight
