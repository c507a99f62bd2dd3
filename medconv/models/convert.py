"""From a trained network to one of another operator, keeping of its kernels what the operator can have."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

from medconv.errors import ConfigError
from medconv.ndim import CONV_MODULE
from medconv.ops import ConvFactory, ConvOp, SymmetricConv

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def convert(model: M, conv: ConvFactory = SymmetricConv) -> M:
    """A copy of ``model`` with the nearest kernels that another operator can have.

    Every operator that equals a plain convolution, and every plain ``nn.Conv2d``/``nn.Conv3d``, is replaced by
    ``conv`` of the same geometry, whose ``load_dense`` takes the trained kernel over: for ``SymmetricConv`` its
    average over the group. Kernels of one tap are left alone: they see no direction. Train the result a little
    further; what was odd in the kernels is gone.

    Args:
        model: Any network; it is not changed.
        conv: The operator's class, or a ``partial`` with its character; it has a method ``load_dense``.

    Raises:
        ConfigError: The operator has no ``load_dense``, or ``model`` has nothing to replace.

    Cost:
        A copy of the weights.

    Example:
        >>> from medconv.models import UNet, describe
        >>> trained = UNet(2, 1, 2, channels=(4, 8))
        >>> describe(trained, (16, 16)).symmetry.name, describe(convert(trained), (16, 16)).symmetry.name
        ('C1', 'D4')
    """
    model = deepcopy(model)
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if _is_replaceable(child)
    ]
    if not places:
        raise ConfigError(
            f"expected a network with plain convolutions, {type(model).__name__} has none to convert"
        )
    for parent, name, child in places:
        setattr(parent, name, _converted(child, conv))
    return model


def _is_replaceable(layer: nn.Module) -> bool:
    if isinstance(layer, ConvOp):
        return layer.is_foldable and max(layer.kernel_size) > 1
    return isinstance(layer, nn.Conv2d | nn.Conv3d) and max(layer.kernel_size) > 1


def _converted(layer: nn.Module, conv: ConvFactory) -> ConvOp:
    plain = layer.fold() if isinstance(layer, ConvOp) else layer
    assert isinstance(plain, nn.Conv2d | nn.Conv3d)
    dims = next(d for d, kind in CONV_MODULE.items() if isinstance(plain, kind))
    new = conv(
        dims,
        plain.in_channels,
        plain.out_channels,
        plain.kernel_size,
        stride=plain.stride,
        dilation=plain.dilation,
        groups=plain.groups,
        bias=plain.bias is not None,
        spacing_mm=getattr(layer, "spacing_mm", None),
    )
    take_over = getattr(new, "load_dense", None)
    if take_over is None:
        raise ConfigError(
            f"expected an operator that takes a plain kernel over (load_dense), got {type(new).__name__}; "
            "use SymmetricConv"
        )
    if plain.padding != new.padding or plain.padding_mode != "zeros":
        raise ConfigError(
            f"expected padding {new.padding} with zeros, got {plain.padding} with {plain.padding_mode!r}"
        )
    new = new.to(plain.weight)
    take_over(plain.weight)
    if new.bias is not None and plain.bias is not None:
        new.bias.copy_(plain.bias)
    return new.train(layer.training)
