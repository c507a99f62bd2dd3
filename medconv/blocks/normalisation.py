"""Normalisation layers by name, with the nonlinearity that follows where the two are one step."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from medconv.blocks.activation import SLOPES, build_activation
from medconv.catalogue import did_you_mean
from medconv.errors import UnknownNameError
from medconv.kernels import GatePerceptron, gated_instance_norm_act, instance_norm_act

NormName = Literal["instance", "batch", "group", "none"]

MAX_GROUPS = 8
"""Most groups of ``"group"``; each has at least two channels, with one it would be ``"instance"``."""


class _Bent:
    """Adds ``slope`` to an instance norm, and does both in the quickest way there is."""

    weight: nn.Parameter
    bias: nn.Parameter
    eps: float
    slope = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` and multiply what is negative by the slope."""
        self._check_input_dim(x)  # type: ignore[attr-defined]
        return instance_norm_act(x, self.weight, self.bias, self.eps, self.slope)

    def gated(self, x: Tensor, gate: GatePerceptron) -> Tensor | None:
        """The same, times gates that depend on its means; ``None`` where that is not quicker than one by one."""
        self._check_input_dim(x)  # type: ignore[attr-defined]
        return gated_instance_norm_act(x, self.weight, self.bias, self.eps, self.slope, gate)

    def extra_repr(self) -> str:
        """As PyTorch prints it, with the slope."""
        return f"{super().extra_repr()}, slope={self.slope}"  # type: ignore[misc]


class InstanceNormAct2d(_Bent, nn.InstanceNorm2d):
    """Instance norm of maps ``(B, C, H, W)``, then leaky ReLU of slope ``slope`` (1: none)."""


class InstanceNormAct3d(_Bent, nn.InstanceNorm3d):
    """Instance norm of maps ``(B, C, D, H, W)``, then leaky ReLU of slope ``slope`` (1: none)."""


_INSTANCE: dict[int, type[nn.Module]] = {2: InstanceNormAct2d, 3: InstanceNormAct3d}
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


def build_norm_act(
    norm: str, activation: str | None, spatial_dims: int, channels: int
) -> tuple[nn.Module, nn.Module]:
    """A normalisation layer and the nonlinearity after it; the latter does nothing where the former does both.

    Args:
        norm: See ``build_norm``.
        activation: See ``build_activation``.
        spatial_dims: 2 or 3.
        channels: ``C`` of the input.

    Raises:
        UnknownNameError: A name that is not known.

    Example:
        >>> build_norm_act("instance", "relu", 2, 8)[1], build_norm_act("batch", "relu", 2, 8)[1]
        (Identity(), ReLU(inplace=True))
    """
    name = activation or "none"
    layer = build_norm(norm, spatial_dims, channels)
    if isinstance(layer, _Bent) and name in SLOPES:
        layer.slope = SLOPES[name]
        return layer, nn.Identity()
    # the norm's output belongs to these two alone; without a norm it may be needed for the gradient of what was before
    return layer, build_activation(name, inplace=norm != "none")


def cancels_bias(name: str) -> bool:
    """Whether a constant added to a channel before this norm has no effect."""
    return name in ("instance", "batch")


def _groups(channels: int) -> int:
    return max(g for g in range(1, MAX_GROUPS + 1) if channels % g == 0 and (g == 1 or channels >= 2 * g))
