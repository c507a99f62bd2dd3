"""Group convolution: look for each pattern in all orientations, and remember in which it was found.

Source: Cohen & Welling, "Group Equivariant Convolutional Networks", ICML 2016; in 3-D: Winkels & Cohen,
"3D G-CNNs for Pulmonary Nodule Detection", MIDL 2018.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.ops.base import ConvOp
from medconv.ops.fields import turn_fields, turned_orientations, turned_taps
from medconv.ops.group_choice import choose_group
from medconv.ops.signed_permutation import Element
from medconv.ops.standard import LEAKY_RELU_GAIN
from medconv.ops.symmetry import SymmetryGroup, admissible, full_group
from medconv.types import IntOrInts


class _OverGroup(ConvOp):
    """What lifting and group convolution share: the group, fields as output, one bias a field."""

    table: Tensor
    psi: nn.Parameter

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
        group: str = "C4",
        axis: int | None = None,
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
        allowed = admissible(
            full_group(spatial_dims), self.spacing_mm, self.kernel_size, self.stride, self.dilation
        )
        self.group = choose_group(group, axis, allowed, self, "choose a group inside it")
        self.orientations = self.group.order
        self.fields = self._count_fields(out_channels, "out_channels")
        self.bias = nn.Parameter(torch.zeros(self.fields)) if bias else None
        shape, table = self._kernel_and_table()
        psi = torch.empty(self.fields, *shape)
        nn.init.normal_(psi, std=LEAKY_RELU_GAIN / psi[0].numel() ** 0.5)
        self.psi = nn.Parameter(psi)
        self.register_buffer("table", table, persistent=False)

    @abstractmethod
    def _kernel_and_table(self) -> tuple[tuple[int, ...], Tensor]:
        """Shape of one kernel; and, for each orientation, which of its numbers stands where."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` with the kernels in all orientations."""
        return self.convolve(x, self.dense_weight())

    def dense_weight(self) -> Tensor:
        """The bank of all orientations of all kernels, shape ``weight_shape``; taps are only moved."""
        bank = self.psi.flatten(2).index_select(-1, self.table.flatten())
        return bank.unflatten(-1, self.table.shape).transpose(1, 2).reshape(self.weight_shape)

    def dense_bias(self) -> Tensor | None:
        """The bias of each field, once for each of its orientations."""
        return None if self.bias is None else self.bias.repeat_interleave(self.orientations)

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """The elements of ``group`` that the grid has; fields turn as ``turn_fields`` says; ``None``: no others."""
        spacing = self.spacing_mm if spacing_mm is None else spacing_mm
        kept = admissible(self.group, spacing, self.kernel_size, self.stride, self.dilation)
        return kept if kept.order > 1 else None

    def turn_output(self, y: Tensor, element: Element) -> Tensor:
        """Voxels and orientations change places."""
        return turn_fields(y, element, self.group)

    def extra_repr(self) -> str:
        """Geometry and group."""
        return f"{super().extra_repr()}, group={self.group.name}"

    def _count_fields(self, channels: int, name: str) -> int:
        if channels % (self.orientations * self.groups):
            is_depthwise = self.groups == self.in_channels == self.out_channels > 1
            why = (
                ": a depthwise convolution, with the 1×1 ones that go with it in MedNeXtBlock, would mix "
                "orientations; take PlainBlock or ResidualBlock"
            )
            lift = "; the channels of an image are no orientations: lift them first, with stem: LiftingConv in a UNet"
            raise ConfigError(
                f"{type(self).__name__}: expected {name} in whole fields of {self.orientations} channels, the "
                f"orientations of {self.group.name}, for each of {self.groups} groups; got {channels}"
                f"{why if is_depthwise else ''}{lift if name == 'in_channels' and not is_depthwise else ''}"
            )
        return channels // self.orientations


class LiftingConv(_OverGroup):
    r"""From an image to fields: each kernel is applied in every orientation of the group.

    .. math:: y[o, g, q] = b[o] + \sum_i \sum_\delta \psi[o, i, g^{-1} \delta] \; x[i, s q + r \delta - p]

    Use it once, as the ``stem`` of a network whose other convolutions are ``GroupConv``. Channel
    ``o |G| + g`` of the output is kernel ``o`` in orientation ``g``.

    Args:
        group: Schoenflies symbol (see ``named_group``): ``C4`` is p4 and ``D4`` p4m in 2-D; in 3-D ``C4`` (4),
            ``D4`` (8) and ``O`` (24) are rotations only.
        axis: The special axis in 3-D; ``None``: the one whose spacing or kernel differs, else 0.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels; ``out_channels`` counts orientations.

    Raises:
        ConfigError: A group that does not exist or that the grid cannot have, or ``out_channels`` that are no
            whole fields.

    Cost:
        That of ``StandardConv`` with the same channels, for ``1 / |G|`` of its weights; ``fold`` gives it.

    Example:
        >>> conv = LiftingConv(2, 1, 16, group="D4")
        >>> conv(torch.zeros(1, 1, 9, 9)).shape, conv.psi.shape
        (torch.Size([1, 16, 9, 9]), torch.Size([2, 1, 3, 3]))
    """

    neutral: ClassVar[dict[str, Any] | None] = {"group": "C1"}

    def _kernel_and_table(self) -> tuple[tuple[int, ...], Tensor]:
        return self.weight_shape[1:], turned_taps(self.kernel_size, self.group)


class GroupConv(_OverGroup):
    r"""From fields to fields: patterns of oriented features, in every orientation of the group.

    .. math:: y[o, g, q] = b[o] + \sum_i \sum_{h \in G} \sum_\delta \psi[o, i, g^{-1} h, g^{-1} \delta] \;
        x[i, h, s q + r \delta - p]

    Unlike ``SymmetricConv`` it has oriented kernels, and still turns with the image. Use it where orientation
    carries no meaning but edges do; prefer ``SymmetricConv`` where memory is short. At equal parameters it has
    ``√|G|`` times the channels of a plain network, at equal cost the same channels and ``1 / |G|`` of the
    parameters. ``out_channels`` counts orientations, so it is a multiple of ``|G|``.

    Args:
        group: Schoenflies symbol (see ``named_group``), the same in the whole network: ``C4`` is p4 and ``D4``
            p4m in 2-D; in 3-D ``C4`` (4), ``D4`` (8) and ``O`` (24) are rotations only.
        axis: The special axis in 3-D; ``None``: the one whose spacing or kernel differs, else 0.

    Shape:
        - Input ``(B, in_channels, *S)``: fields, the orientations of each being neighbours.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels, fields as well.

    Raises:
        ConfigError: A group that does not exist or that the grid cannot have, or channels that are no whole
            fields.

    Cost:
        That of ``StandardConv`` with the same channels, for ``1 / |G|`` of its weights; ``fold`` gives it.

    Example:
        >>> conv = GroupConv(2, 8, 16, group="C4")
        >>> conv(torch.zeros(1, 8, 9, 9)).shape, conv.psi.shape
        (torch.Size([1, 16, 9, 9]), torch.Size([4, 2, 4, 3, 3]))
    """

    neutral: ClassVar[dict[str, Any] | None] = {"group": "C1"}

    def _kernel_and_table(self) -> tuple[tuple[int, ...], Tensor]:
        inputs = self._count_fields(self.in_channels, "in_channels") // self.groups
        taps, quotients = turned_taps(self.kernel_size, self.group), turned_orientations(self.group)
        table = quotients[:, :, None] * taps.shape[1] + taps[:, None, :]
        return (inputs, self.orientations, *self.kernel_size), table

    def turn_input(self, x: Tensor, element: Element) -> Tensor:
        """Voxels and orientations change places."""
        return turn_fields(x, element, self.group)
