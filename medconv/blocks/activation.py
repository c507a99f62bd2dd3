"""Nonlinearities by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import nn

from medconv.catalogue import did_you_mean
from medconv.errors import UnknownNameError

ActivationName = Literal["leaky_relu", "relu", "elu", "silu", "gelu", "none"]

SLOPES = {"leaky_relu": 0.01, "relu": 0.0, "none": 1.0}
"""Nonlinearities that multiply what is negative by a constant."""

_IN_PLACE: dict[str, Callable[..., nn.Module]] = {
    "leaky_relu": partial(nn.LeakyReLU, SLOPES["leaky_relu"]),
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}
_OTHERS: dict[str, Callable[[], nn.Module]] = {"gelu": nn.GELU, "none": nn.Identity}


def build_activation(name: str | None, *, inplace: bool = False) -> nn.Module:
    """The nonlinearity with this name; ``None`` is ``"none"``.

    Args:
        name: ``"leaky_relu"`` (slope 0.01, as in nnU-Net), ``"relu"``, ``"elu"``, ``"silu"``, ``"gelu"``,
            ``"none"``.
        inplace: Overwrite the input where the function allows it; saves one map of memory.

    Raises:
        UnknownNameError: Any other name.

    Example:
        >>> build_activation("leaky_relu")
        LeakyReLU(negative_slope=0.01)
    """
    name = name or "none"
    if name in _IN_PLACE:
        return _IN_PLACE[name](inplace=inplace)
    if name in _OTHERS:
        return _OTHERS[name]()
    names = [*_IN_PLACE, *_OTHERS]
    raise UnknownNameError(f"no activation {name!r}{did_you_mean(name, names)}. All: {', '.join(names)}")
