"""The unit that all blocks are made of: convolution, norm, nonlinearity, attention, dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from medconv.attention import AttentionFactory
from medconv.blocks.normalisation import build_norm_act, cancels_bias
from medconv.blocks.on_fields import on_fields
from medconv.errors import ConfigError
from medconv.kernels import GatePerceptron
from medconv.ops import ConvFactory
from medconv.types import IntOrInts

_DROPOUT: dict[int, type[nn.Module]] = {2: nn.Dropout2d, 3: nn.Dropout3d}


class ConvUnit(nn.Module):
    r"""Convolution, norm, nonlinearity, attention and dropout, in this order.

    .. math:: y = \text{dropout}(\text{attention}(\phi(\text{norm}(W * x))))

    Attention stands after the nonlinearity: the spatial mean of an instance-normalised map is its learnt
    shift whatever the input, so attention that looks at means only would be a constant right after the norm,
    and without effect right before it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the input.
        out_channels: ``C`` of the output.
        kernel_size: Taps per axis.
        conv: Makes the convolution. It has no bias where the norm would cancel it.
        attention: Makes the attention layer; ``None``: none.
        norm: ``"instance"``, ``"batch"``, ``"group"`` or ``"none"``.
        activation: A name that ``build_activation`` knows.
        dropout: Share of channels dropped in training, 0 up to, not including, 1.
        spacing_mm: Voxel size of the input; ``None`` means isotropic.
        stride: Step of the convolution per axis.

    Shape:
        - Input ``(B, in_channels, *S)``.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: Attention that sees only means directly after an instance norm, or a dropout outside its
            range.

    Example:
        >>> import torch
        >>> from medconv.ops import StandardConv
        >>> unit = ConvUnit(2, 1, 4, conv=StandardConv, norm="group", activation="gelu")
        >>> unit(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts = 3,
        *,
        conv: ConvFactory,
        attention: AttentionFactory | None = None,
        norm: str = "instance",
        activation: str | None = "leaky_relu",
        dropout: float = 0.0,
        spacing_mm: Sequence[float] | None = None,
        stride: IntOrInts = 1,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"expected dropout from 0 up to, not including, 1; got {dropout}")
        self.conv = conv(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            bias=not cancels_bias(norm),
            spacing_mm=spacing_mm,
        )
        n = self.conv.orientations
        norm_layer, self.activation = build_norm_act(norm, activation, spatial_dims, out_channels // n)
        self.norm = on_fields(norm_layer, n)
        self.attention = build_attention(attention, spatial_dims, out_channels, norm, activation, n)
        self.dropout = on_fields(_DROPOUT[spatial_dims](dropout) if dropout else nn.Identity(), n)

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Apply the unit; ``guide`` goes to a convolution that needs one."""
        # a folded convolution is a plain nn.ConvNd and knows no guide
        x = self.conv(x, guide) if getattr(self.conv, "needs_guide", False) else self.conv(x)
        y = self._gated(x)
        return self.dropout(self.attention(self.activation(self.norm(x))) if y is None else y)

    def _gated(self, x: Tensor) -> Tensor | None:
        """Norm, nonlinearity and attention in one, where they offer it and nobody listens to one of them."""
        norm: Any = self.norm
        attention: Any = self.attention
        if not isinstance(self.activation, nn.Identity) or not getattr(attention, "sees_only_means", False):
            return None
        if not _stands_for(norm, "gated", ("forward",)):
            return None
        if not _stands_for(attention, "gate_perceptron", ("forward", "gates")):
            return None
        gate: GatePerceptron | None = attention.gate_perceptron()
        if gate is None or is_listened_to(norm, self.activation, *attention.modules()):
            return None
        gated: Tensor | None = norm.gated(x, gate)
        return gated


def is_listened_to(*modules: nn.Module) -> bool:
    """Whether anything is called before or after one of the modules, forwards or backwards.

    Example:
        >>> layer = nn.Identity()
        >>> _ = layer.register_forward_pre_hook(lambda *_: None)
        >>> is_listened_to(layer), is_listened_to(nn.Identity())
        (True, False)
    """
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    everywhere = any(getattr(nn.modules.module, f"_global{kind}") for kind in kinds)
    return everywhere or any(getattr(module, kind) for module in modules for kind in kinds)


def _stands_for(module: nn.Module, method: str, replaced: Sequence[str]) -> bool:
    """Whether a method was written for the others as they are, and no subclass changed one of those alone."""

    def home(name: str) -> type | None:
        return next((kind for kind in type(module).__mro__ if name in vars(kind)), None)

    author = home(method)
    if author is None or any(name in vars(module) for name in replaced):
        return False
    return all(issubclass(author, owner) for name in replaced if (owner := home(name)) is not None)


def build_attention(
    attention: AttentionFactory | None,
    spatial_dims: int,
    channels: int,
    norm: str,
    activation: str | None,
    orientations: int = 1,
) -> nn.Module:
    """The attention layer behind a norm and a nonlinearity; without a factory the identity.

    Raises:
        ConfigError: The layer sees only spatial means and would stand directly behind an instance norm; or it
            cares where voxels lie and would stand on fields, whose orientations it would mistake for places.
    """
    if attention is None:
        return nn.Identity()
    layer = attention(spatial_dims, channels // orientations)
    if orientations > 1 and not layer.is_blind_to_places:
        raise ConfigError(
            f"expected attention that does not care where a voxel lies on the fields of GroupConv, got "
            f"{type(layer).__name__}; ChannelAttention, SCSE, ChannelShrinkage and SelfAttention keep the symmetry"
        )
    if getattr(layer, "sees_only_means", False) and norm == "instance" and activation in (None, "none"):
        raise ConfigError(
            "expected a nonlinearity between instance norm and attention, got activation 'none': the spatial "
            "mean of an instance-normalised map, GAP(IN(x)), is constant, so the attention could not see its "
            "input; set an activation or another norm"
        )
    return on_fields(layer, orientations)
