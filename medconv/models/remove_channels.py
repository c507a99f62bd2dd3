"""A network without the channels that its sparse convolutions have set to zero: smaller, and faster."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from medconv.blocks import Block, ConvUnit
from medconv.ndim import CONV_MODULE
from medconv.ops import ConvOp

M = TypeVar("M", bound=nn.Module)

_REMOVABLE = (nn.InstanceNorm2d, nn.InstanceNorm3d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Identity)
"""Norms that treat each channel by itself; a group norm would see other statistics without the channel."""


@torch.no_grad()
def remove_channels(model: M) -> M:
    """A copy of ``model`` without the channels, inside its blocks, whose kernels are exactly zero.

    Between two units of a block a channel belongs to the first convolution, its norm and the second
    convolution alone, so all three become smaller plain layers. Channels that leave a block stay: skips,
    shortcuts and the next stage share them.

    A removed channel was a constant behind its norm and nonlinearity. Where that constant is 0 (no bias, a norm
    whose shift is 0) the outputs stay the same; otherwise it moves into the bias of the second convolution,
    which differs only where windows reach over the border. Like ``fold``, the copy has other weights than a
    checkpoint: remove channels after loading one.

    Args:
        model: Any network of blocks; it is not changed. Convolutions that equal no plain one or have groups,
            and channels before a group norm or an attention layer, stay.

    Cost:
        A copy of the weights.

    Example:
        >>> from functools import partial
        >>> from medconv.models import UNet
        >>> from medconv.ops import SparseConv
        >>> net = UNet(2, 1, 2, channels=(8, 16), conv=partial(SparseConv, pattern="channels", dense_below=1))
        >>> small = remove_channels(net)
        >>> [b.units[0].conv.out_channels for b in small.encoder.blocks]
        [4, 8]
    """
    model = deepcopy(model)
    for block in model.modules():
        units = getattr(block, "units", ())
        if isinstance(block, Block) and all(isinstance(unit, ConvUnit) for unit in units):
            for first, second in pairwise(units):
                _remove_between(first, second)
    return model


def _remove_between(first: ConvUnit, second: ConvUnit) -> None:
    """Make the first convolution, its norm and the second convolution smaller."""
    before, after = _plain(first.conv), _plain(second.conv)
    is_bare = isinstance(first.attention, nn.Identity) and isinstance(first.norm, _REMOVABLE)
    if before is None or after is None or not is_bare:
        return
    live = before.weight.flatten(1).abs().sum(dim=1) > 0
    live[0] |= not bool(live.any())  # a convolution needs an output
    if bool(live.all()):
        return
    constant = _constant(first, before)
    left = (after.weight.flatten(2).sum(dim=2) * constant)[:, ~live].sum(dim=1)
    bias = after.bias
    if bias is None and bool(left.any()):
        bias = torch.zeros_like(left)
    first.conv = _convolution(before, before.weight[live], None if before.bias is None else before.bias[live])  # type: ignore[assignment]
    second.conv = _convolution(after, after.weight[:, live], None if bias is None else bias + left)  # type: ignore[assignment]
    first.norm = _part_of(first.norm, live)


def _plain(conv: nn.Module) -> nn.Conv2d | nn.Conv3d | None:
    """The plain convolution that an operator is worth being, if it has no groups."""
    if isinstance(conv, ConvOp) and conv.is_worth_folding:
        conv = conv.fold()
    return conv if isinstance(conv, nn.Conv2d | nn.Conv3d) and conv.groups == 1 else None


def _constant(unit: ConvUnit, conv: nn.Conv2d | nn.Conv3d) -> Tensor:
    """What each channel is behind norm and nonlinearity where its kernel is zero."""
    bias = torch.zeros_like(conv.weight[:, 0].flatten(1)[:, 0]) if conv.bias is None else conv.bias
    was_training = unit.training
    unit.eval()
    flat = bias.reshape(1, -1, *[1] * (conv.weight.dim() - 2)).expand(1, -1, *[2] * (conv.weight.dim() - 2))
    value = unit.activation(unit.norm(flat.clone())).flatten(2)[0, :, 0]
    unit.train(was_training)
    return value


def _convolution(like: nn.Conv2d | nn.Conv3d, weight: Tensor, bias: Tensor | None) -> nn.Module:
    conv = CONV_MODULE[weight.dim() - 2](
        weight.shape[1],
        weight.shape[0],
        like.kernel_size,
        stride=like.stride,
        padding=like.padding,
        dilation=like.dilation,
        bias=bias is not None,
        device=weight.device,
        dtype=weight.dtype,
    )
    conv.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return conv.train(like.training)


def _part_of(norm: nn.Module, live: Tensor) -> nn.Module:
    """The norm for the channels that are left."""
    part = deepcopy(norm)
    if isinstance(norm, nn.Identity):
        return part
    part.num_features = int(live.sum())  # type: ignore[assignment]
    for name, value in norm.named_parameters():
        setattr(part, name, nn.Parameter(value[live], value.requires_grad))
    for name, buffer in norm.named_buffers():
        setattr(part, name, buffer[live] if buffer.dim() else buffer.clone())
    return part
