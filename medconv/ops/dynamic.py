"""Dynamic convolution: several kernels, mixed anew for every image.

Source: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020; Yang et al.,
"CondConv", NeurIPS 2019; Li et al., "Omni-Dimensional Dynamic Convolution" (ODConv), ICLR 2022 (the gates).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.ndim import CONV
from medconv.ops.base import ConvOp
from medconv.ops.precision import full_precision
from medconv.ops.standard import LEAKY_RELU_GAIN, pointwise_symmetry
from medconv.ops.symmetry import SymmetryGroup
from medconv.types import IntOrInts

Gate = Literal["inputs", "outputs", "taps"]

MAX_EXPERTS = 64


class DynamicConv(ConvOp):
    r"""Convolution whose kernel is a mixture of experts, weighted by what the image is on average.

    .. math:: W(x) = A(x) \odot \sum_{e=1}^{E} \pi_e(x) \, W_e, \qquad
        \pi = \text{softmax}\big(z(x) / \tau\big), \quad z = F_2 \, \phi(F_1 \, \text{mean}(x))

    At the start all experts count alike and all gates are 1. A high temperature ``τ`` keeps all experts in
    training; the callback ``TemperatureSchedule`` lowers it (published: from 30 to 1 over 10 epochs). It is a
    saved buffer, 1 unless somebody changes it.

    Use it where images differ in kind (several scanners, stains, contrasts) and one kernel would be a
    compromise. Mind that the mean over a patch is not the mean over the image: sliding windows see kernels
    that differ from tile to tile. After an instance norm without nonlinearity the mean says nothing.

    Args:
        experts: Kernels ``E``, 1 to 64.
        gates: Factors of ODConv in ``A``, from 0 to 2: of the ``"inputs"``, ``"outputs"`` and ``"taps"``.
        reduction: Input channels over hidden units of the controller; at least 4 units.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: ``experts`` or ``reduction`` out of range, or an unknown or repeated gate.

    Cost:
        That of ``StandardConv``, one kernel an image, plus ``E`` multiplications a weight and image. It cannot
        be folded, unless there is one expert and no gate: then it is the plain convolution.

    Example:
        >>> conv = DynamicConv(2, 4, 8, experts=3, gates=["outputs"])
        >>> conv(torch.zeros(2, 4, 6, 6)).shape, conv.mixture(torch.zeros(1, 4, 6, 6)).shape
        (torch.Size([2, 8, 6, 6]), torch.Size([1, 3]))
    """

    temperature: Tensor
    neutral: ClassVar[dict[str, Any] | None] = {"experts": 1}

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
        experts: int = 4,
        gates: Sequence[Gate] = (),
        reduction: int = 4,
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
        _check(experts, gates, reduction)
        self.experts, self.gates = experts, tuple(gates)
        self.weight = nn.Parameter(torch.empty(experts, *self.weight_shape))
        # the mean of E kernels has an E-th of their variance
        nn.init.normal_(self.weight, std=LEAKY_RELU_GAIN * (experts / prod(self.weight_shape[1:])) ** 0.5)
        sizes = {"inputs": self.weight_shape[1], "outputs": out_channels, "taps": prod(self.kernel_size)}
        self._lengths = [experts, *(sizes[gate] for gate in self.gates)]
        hidden = max(in_channels // reduction, 4)
        is_static = experts == 1 and not self.gates
        self.squeeze = None if is_static else nn.Linear(in_channels, hidden)
        self.excite = None if is_static else nn.Linear(hidden, sum(self._lengths))
        if self.excite is not None:
            nn.init.zeros_(self.excite.weight)
            nn.init.zeros_(self.excite.bias)
        self.register_buffer("temperature", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each image with its own kernel."""
        if self.squeeze is None:
            return self.convolve(x, self.weight[0])
        self.check_input(x)
        kernels = self.kernels(x)
        if self.spatial_dims == 2:
            return self._grouped(x, kernels)
        # in 3-D a grouped convolution is slower than one after the other
        return torch.cat([self.convolve(x[n : n + 1], kernels[n]) for n in range(x.shape[0])])

    def mixture(self, x: Tensor) -> Tensor:
        """Share ``π`` of each expert for each image, ``(B, experts)``."""
        return self._control(x)[0]

    def kernels(self, x: Tensor) -> Tensor:
        """The kernel of each image, ``(B, *weight_shape)``."""
        shares, *factors = self._control(x)
        # products and sums in full precision: autocast would round a matrix product
        dtype = shares.dtype
        ones = (1,) * len(self.weight_shape)
        kernels = (shares.reshape(-1, self.experts, *ones) * self.weight.to(dtype)).sum(dim=1)
        taps = (1,) * self.spatial_dims
        for gate, factor in zip(self.gates, factors, strict=True):
            shape = {"inputs": (1, -1, *taps), "outputs": (-1, 1, *taps), "taps": (1, 1, *self.kernel_size)}
            kernels = kernels * factor.reshape(factor.shape[0], *shape[gate])
        return kernels.to(self.weight.dtype)

    def dense_weight(self) -> Tensor | None:
        """The one kernel where there is a single expert and no gate, else ``None``."""
        return self.weight[0] if self.squeeze is None else None

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """Nothing, except for kernel 1."""
        return pointwise_symmetry(self, spacing_mm)

    def macs(self, input_shape: Sequence[int]) -> int:
        """Multiply-adds of the convolution, of mixing the kernels, and of the controller."""
        control = sum(layer.weight.numel() for layer in (self.squeeze, self.excite) if layer is not None)
        mixing = self.weight.numel() if self.squeeze is not None else 0
        return super().macs(input_shape) + mixing + control

    def extra_repr(self) -> str:
        """Geometry and character."""
        return f"{super().extra_repr()}, experts={self.experts}, gates={list(self.gates)}"

    def _control(self, x: Tensor) -> tuple[Tensor, ...]:
        """Shares of the experts and factors of the gates, one row an image."""
        if self.squeeze is None or self.excite is None:
            return (x.new_ones(x.shape[0], 1),)
        with full_precision(x):
            dtype = torch.promote_types(x.dtype, torch.float32)
            z = x.to(dtype).flatten(2).mean(dim=2)
            z = F.relu(F.linear(z, self.squeeze.weight.to(dtype), self.squeeze.bias.to(dtype)))
            z = F.linear(z, self.excite.weight.to(dtype), self.excite.bias.to(dtype))
            scores, *factors = z.split(self._lengths, dim=1)
            return (torch.softmax(scores / self.temperature, dim=1), *(2 * f.sigmoid() for f in factors))

    def _grouped(self, x: Tensor, kernels: Tensor) -> Tensor:
        """All images in one convolution, each a group of its own."""
        number = x.shape[0]
        y = CONV[self.spatial_dims](
            x.reshape(1, -1, *x.shape[2:]),
            kernels.flatten(0, 1),
            None if self.bias is None else self.bias.repeat(number),
            self.stride,
            self.padding,
            self.dilation,
            self.groups * number,
        )
        return y.reshape(number, self.out_channels, *y.shape[2:])


def _check(experts: int, gates: Sequence[str], reduction: int) -> None:
    if not 1 <= experts <= MAX_EXPERTS:
        raise ConfigError(f"expected experts from 1 to {MAX_EXPERTS}, got {experts}")
    if reduction < 1:
        raise ConfigError(f"expected a reduction of at least 1, got {reduction}")
    if isinstance(gates, str) or len(set(gates)) < len(gates) or not set(gates) <= set(get_args(Gate)):
        raise ConfigError(f"expected gates among 'inputs', 'outputs' and 'taps', each once, got {gates!r}")
