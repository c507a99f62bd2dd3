"""Sparse convolution: a stated number of weights, and not one more, is different from zero.

Source: Zhu & Gupta, "To Prune, or Not to Prune", 2017; Evci et al., "Rigging the Lottery", ICML 2020; Mishra
et al., "Accelerating Sparse Deep Neural Networks", 2021 (2:4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from medconv.errors import ConfigError, ShapeError
from medconv.ops.sparse_masks import channel_mask, check_sparsity, magnitude_mask, pattern_mask
from medconv.ops.standard import StandardConv
from medconv.types import IntOrInts

SparseGradient = Literal["masked", "straight_through"]

_PATTERN = re.compile(r"^([1-9]\d*):([1-9]\d*)$")


class SparseConv(StandardConv):
    r"""Convolution with a mask over a dense master weight; the level is exact at every step.

    .. math:: W = \text{mask} \odot V

    The mask is a saved buffer, changed by ``update_mask`` or by the callbacks ``PruneGradually`` and
    ``RegrowWeights`` and by nothing else: no forward pass touches it or the weight. So exactly as many
    weights are zero as was asked for, after any number of optimiser steps and in the checkpoint.

    Use it to regularise where cases are few, or to compress. What it gives: ``"magnitude"`` and ``"2:4"``
    give fewer parameters but *no* speed (PyTorch convolves with zeros; sparse tensor cores serve matrix
    products only). ``"channels"`` gives speed as well, once ``medconv.models.remove_channels`` has removed
    them. Layers with few input channels (the first one, depthwise ones) stay dense.

    Args:
        sparsity: Share of the weights (of the output channels for ``"channels"``) that are zero; ``None``: a
            half, or what an ``"n:m"`` pattern says.
        pattern: ``"magnitude"``: the largest stay. ``"n:m"``, such as ``"2:4"``: ``n`` of every ``m``
            consecutive input channels stay. ``"channels"``: the strongest output channels stay.
        gradient: ``"masked"``: weights at zero have no gradient. ``"straight_through"``: the dense gradient
            reaches all master weights, so that a masked one can grow until the next update takes it in.
        dense_below: With fewer input channels a group than this, the layer stays dense.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: ``sparsity`` outside [0, 1), an unknown pattern or gradient, ``m`` that does not divide
            the input channels of a group, or a sparsity that contradicts the pattern.

    Cost:
        That of ``StandardConv`` plus one product with the mask a pass; ``fold`` saves the latter.

    Example:
        >>> conv = SparseConv(2, 8, 16, sparsity=0.75)
        >>> int((conv.dense_weight() == 0).sum()), conv.dense_weight().numel()
        (864, 1152)
    """

    mask: Tensor
    neutral: ClassVar[dict[str, Any] | None] = {"sparsity": 0.0}

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
        sparsity: float | None = None,
        pattern: str = "magnitude",
        gradient: SparseGradient = "masked",
        dense_below: int = 4,
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
        if gradient not in get_args(SparseGradient):
            raise ConfigError(f"expected gradient 'masked' or 'straight_through', got {gradient!r}")
        self.pattern, self.gradient, self.dense_below = pattern, gradient, dense_below
        self.n_of_m = _n_of_m(pattern)
        sparsity = _target(sparsity, pattern, self.n_of_m)
        inputs = in_channels // groups
        self.is_dense = inputs < dense_below
        if not self.is_dense and self.n_of_m is not None and inputs % self.n_of_m[1]:
            raise ConfigError(
                f"expected input channels a group divisible by {self.n_of_m[1]} for the pattern {pattern!r}, got "
                f"{inputs}; change the channels, or raise dense_below above {inputs} to leave such layers dense"
            )
        self.sparsity = 0.0 if self.is_dense else sparsity
        self.asks_dense_gradient = False
        self.register_buffer("mask", torch.ones(self.weight_shape, dtype=torch.bool))
        self.update_mask()

    @torch.no_grad()
    def update_mask(self, sparsity: float | None = None) -> None:
        """Choose anew, by the master weights, which weights stay.

        Args:
            sparsity: Level from now on; ``None``: the one of construction. Without effect on dense layers.

        Raises:
            ConfigError: A level outside [0, 1), or any other than its own for an ``"n:m"`` pattern.
        """
        level = self.sparsity if sparsity is None else _target(sparsity, self.pattern, self.n_of_m)
        if self.is_dense or level == 0:
            self.mask.fill_(True)
        elif self.n_of_m is not None:
            self.mask.copy_(pattern_mask(self.weight, *self.n_of_m))
        elif self.pattern == "channels":
            self.mask.copy_(channel_mask(self.weight, level))
        else:
            self.mask.copy_(magnitude_mask(self.weight, level))

    @torch.no_grad()
    def set_mask(self, mask: Tensor) -> None:
        """Say which weights stay.

        Args:
            mask: Bool, shape ``weight_shape``.

        Raises:
            ShapeError: Another shape or dtype.
        """
        if mask.shape != self.mask.shape or mask.dtype != torch.bool:
            raise ShapeError(
                f"expected a bool mask of shape {self.weight_shape}, got {tuple(mask.shape)} {mask.dtype}"
            )
        self.mask.copy_(mask)

    @property
    def zero_share(self) -> float:
        """Share of the weights that are masked now."""
        return 1 - float(self.mask.sum()) / self.mask.numel()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` with the masked weight."""
        return self.convolve(x, self._masked())

    def dense_weight(self) -> Tensor:
        """The masked weight: the kernel with its zeros."""
        return torch.where(self.mask, self.weight, torch.zeros_like(self.weight))

    def extra_repr(self) -> str:
        """Geometry and character."""
        character = f"sparsity={self.sparsity:.3g}, pattern={self.pattern}, gradient={self.gradient}"
        return f"{super().extra_repr()}, {character}"

    def _masked(self) -> Tensor:
        masked = self.dense_weight()
        if self.gradient == "straight_through" or self.asks_dense_gradient:
            # the same values; the gradient goes to every master weight
            return self.weight + (masked - self.weight).detach()
        return masked


def _n_of_m(pattern: str) -> tuple[int, int] | None:
    match = _PATTERN.match(pattern)
    if match is not None and int(match[1]) < int(match[2]):
        return int(match[1]), int(match[2])
    if pattern in ("magnitude", "channels"):
        return None
    raise ConfigError(
        f"expected pattern 'magnitude', 'channels' or 'n:m' with n below m, such as '2:4'; got {pattern!r}"
    )


def _target(sparsity: float | None, pattern: str, n_of_m: tuple[int, int] | None) -> float:
    if n_of_m is None:
        return 0.5 if sparsity is None else check_sparsity(sparsity)
    own = 1 - n_of_m[0] / n_of_m[1]
    if sparsity is not None and abs(sparsity - own) > 1e-9:
        raise ConfigError(
            f"the pattern {pattern!r} has a sparsity of {own:.3g}, got {sparsity}; say neither or {own:.3g}"
        )
    return own
