"""Deployment does not pay for research: operators become the plain convolutions that they equal."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

from medconv.ops import ConvOp

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def fold(model: M) -> M:
    """A copy of ``model`` in which every foldable operator is the plain convolution it equals.

    Outputs stay the same (bitwise for ``StandardConv``; within rounding elsewhere), while kernels are no
    longer expanded in each pass and nothing but PyTorch is needed to run them. Operators that depend on their
    input, such as gradient-weighted ones, stay as they are, and so do those that cost less than their plain
    convolution, such as separable ones. The copy has other weight names: fold after loading a checkpoint.

    Args:
        model: Any network; it is not changed.

    Cost:
        A copy of the weights.

    Example:
        >>> from medconv.models import UNet
        >>> plain = fold(UNet(2, 1, 2, channels=(4, 8)))
        >>> any(isinstance(m, ConvOp) for m in plain.modules())
        False
    """
    model = deepcopy(model)
    if isinstance(model, ConvOp):
        return model.fold() if model.is_worth_folding else model  # type: ignore[return-value]
    _fold_children(model)
    return model


def _fold_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, ConvOp) and child.is_worth_folding:
            setattr(module, name, child.fold())
        else:
            _fold_children(child)
