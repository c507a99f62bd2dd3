"""Normalisation layers by name."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from medconv.catalogue import did_you_mean
from medconv.errors import UnknownNameError

NormName = Literal["instance", "batch", "group", "none"]

MAX_GROUPS = 8
"""Most groups of ``"group"``; each has at least two channels, with one it would be ``"instance"``."""

_INSTANCE: dict[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_BATCH: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def build_norm(name: str, spatial_dims: int, channels: int) -> nn.Module:
    """The normalisation layer with this name; all but ``"none"`` have a learnable scale and shift.

    Args:
        name: ``"instance"`` (each channel of each sample by itself; right for small batches), ``"batch"``,
            ``"group"`` (up to 8 groups of channels) or ``"none"``.
        spatial_dims: 2 or 3.
        channels: ``C`` of the input.

    Raises:
        UnknownNameError: Any other name.

    Example:
        >>> build_norm("group", 3, 12)
        GroupNorm(6, 12, ...)
    """
    match name:
        case "instance":
            return _INSTANCE[spatial_dims](channels, affine=True)
        case "batch":
            return _BATCH[spatial_dims](channels)
        case "group":
            return nn.GroupNorm(_groups(channels), channels)
        case "none":
            return nn.Identity()
    names = get_args(NormName)
    raise UnknownNameError(f"no norm {name!r}{did_you_mean(name, names)}. All: {', '.join(names)}")


def cancels_bias(name: str) -> bool:
    """Whether a constant added to a channel before this norm has no effect."""
    return name in ("instance", "batch")


def _groups(channels: int) -> int:
    return max(g for g in range(1, MAX_GROUPS + 1) if channels % g == 0 and (g == 1 or channels >= 2 * g))
