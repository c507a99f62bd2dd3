"""The contract that every convolution operator signs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from medconv.catalogue import catalogue
from medconv.errors import ConfigError, ShapeError
from medconv.ndim import CONV, CONV_MODULE, check_spatial_dims, same_padding, to_tuple
from medconv.ops.signed_permutation import Element
from medconv.ops.symmetry import SymmetryGroup, act
from medconv.types import IntOrInts


class ConvFactory(Protocol):
    """What a convolution slot accepts: an operator class, or ``partial(SymmetricConv, basis="ring")``.

    The caller (a block) gives the geometry, the configuration gives the character.
    """

    def __call__(
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
    ) -> ConvOp:
        """Build the operator for one place in a network."""
        ...


class ConvOp(nn.Module, ABC):
    r"""Base of all convolution operators: geometry, checks and cost; a subclass adds its character.

    .. math:: y[n, o, q] = b[o] + \sum_i \sum_\delta W[o, i, \delta] \; x[n, i, s q + r \delta - p]

    Cross-correlation, zero padding ``p`` equal on both sides, as in PyTorch.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the input.
        out_channels: ``C`` of the output.
        kernel_size: Taps per axis; odd, or even with an even difference to the stride.
        stride: Step per axis.
        dilation: Distance between taps per axis, in voxels.
        groups: Channel groups; divides both channel counts.
        bias: Whether a constant is added to each output channel.
        spacing_mm: Voxel edge lengths of the input, in mm; ``None`` means isotropic with unit 1.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: Channels, groups, kernel, stride, dilation or spacing that cannot be built.
        ShapeError: At call time: an input of another rank or channel count.
    """

    needs_guide: bool = False
    """True where ``forward`` takes ``(x, guide)``: the guide is made once per image by the network."""

    guide_channels: int = 1
    """Least number of channels of the guide: 1, the gradient energy; 2 or more: the intensities behind it."""

    orientations: int = 1
    """How many neighbouring output channels are one field, which a rotation permutes; 1: channels stand alone."""

    neutral: ClassVar[dict[str, Any] | None] = None
    """Character at which the operator is ``StandardConv`` with the same kernel; ``None``: there is none."""

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
    ) -> None:
        super().__init__()
        self.spatial_dims = check_spatial_dims(spatial_dims)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size: tuple[int, ...] = to_tuple(kernel_size, spatial_dims, "kernel_size")
        self.stride: tuple[int, ...] = to_tuple(stride, spatial_dims, "stride")
        self.dilation: tuple[int, ...] = to_tuple(dilation, spatial_dims, "dilation")
        self.padding = same_padding(self.kernel_size, self.stride, self.dilation)
        self.groups = groups
        self.spacing_mm: tuple[float, ...] = to_tuple(
            1.0 if spacing_mm is None else spacing_mm, spatial_dims, "spacing_mm"
        )
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ConfigError(
                f"expected positive channel counts divisible by groups, got in_channels {in_channels}, "
                f"out_channels {out_channels}, groups {groups}"
            )
        if min(self.spacing_mm) <= 0:
            raise ConfigError(f"expected positive spacing_mm, got {self.spacing_mm}")
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(out_channels, in_channels / groups, *kernel_size)``: the shape of the dense kernel."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Apply the operator to ``x`` of shape ``(B, in_channels, *S)``."""

    def dense_weight(self) -> Tensor | None:
        """The plain kernel that this operator equals, shape ``weight_shape``; ``None`` if there is none."""
        return None

    def dense_bias(self) -> Tensor | None:
        """What that plain kernel adds to each output channel, shape ``(out_channels,)``; ``None``: nothing."""
        return self.bias

    def turn_input(self, x: Tensor, element: Element) -> Tensor:
        """How a rotation or reflection acts on the input, in the law about symmetry."""
        return act(x, element)

    def turn_output(self, y: Tensor, element: Element) -> Tensor:
        """How a rotation or reflection acts on the output, in the law about symmetry."""
        return act(y, element)

    def fold(self) -> nn.Module:
        """The plain ``nn.Conv2d``/``nn.Conv3d`` with identical output.

        Raises:
            ConfigError: The operator depends on its input, so no plain convolution equals it.
        """
        weight = self.dense_weight()
        if weight is None:
            raise ConfigError(
                f"{type(self).__name__} depends on its input and equals no plain convolution, "
                f"so it cannot be folded; keep it as it is (is_foldable tells beforehand)"
            )
        bias = self.dense_bias()
        conv = CONV_MODULE[self.spatial_dims](
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        conv.load_state_dict({"weight": weight.detach()} | ({} if bias is None else {"bias": bias.detach()}))
        return conv.train(self.training)

    @property
    def is_foldable(self) -> bool:
        """Whether ``fold`` succeeds."""
        return self.dense_weight() is not None

    @property
    def is_worth_folding(self) -> bool:
        """Whether ``medconv.fold`` folds it: false where the plain convolution would cost more."""
        return self.is_foldable

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """Rotations and reflections with which the layer commutes for every weight; ``None``: only identity.

        Args:
            spacing_mm: Ask for another voxel spacing than the one given at construction.
        """
        del spacing_mm
        return None

    def macs(self, input_shape: Sequence[int]) -> int:
        """Multiply-adds for one input of spatial shape ``input_shape`` (``*S``), without the bias."""
        return prod(self.output_shape(input_shape)) * prod(self.weight_shape)

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Spatial shape of the output for an input of spatial shape ``input_shape``."""
        return tuple(
            (n + 2 * p - r * (k - 1) - 1) // s + 1
            for n, k, s, r, p in zip(
                input_shape, self.kernel_size, self.stride, self.dilation, self.padding, strict=True
            )
        )

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Plain convolution of a checked input with this operator's geometry and bias.

        Raises:
            ShapeError: An input of another rank or channel count.
        """
        self.check_input(x)
        convolution = CONV[self.spatial_dims]
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return convolution(x, weight, self.dense_bias(), *geometry)

    def check_input(self, x: Tensor) -> None:
        """Refuse an input of another rank or channel count.

        Raises:
            ShapeError: With the expected and the received shape.
        """
        if x.dim() != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            axes = "H, W" if self.spatial_dims == 2 else "D, H, W"
            raise ShapeError(
                f"{type(self).__name__}: expected (B, {self.in_channels}, {axes}), got {tuple(x.shape)}"
            )

    def extra_repr(self) -> str:
        """Geometry, as PyTorch prints it."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, default in (("stride", 1), ("dilation", 1)):
            value = getattr(self, name)
            text += f", {name}={value}" if any(v != default for v in value) else ""
        return text + (f", groups={self.groups}" if self.groups > 1 else "")


def conv_catalogue() -> dict[str, type[ConvOp]]:
    """Every operator by class name: the shipped ones and those announced as ``medconv.convs``."""
    return catalogue(ConvOp, "medconv.convs")  # type: ignore[type-abstract]
