"""The contract that every attention layer signs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from medconv.catalogue import catalogue
from medconv.errors import ConfigError, ShapeError
from medconv.ndim import check_spatial_dims
from medconv.ops import SymmetryGroup


class AttentionFactory(Protocol):
    """What an attention slot accepts: a class, or ``partial(ChannelAttention, kind="eca")``."""

    def __call__(self, spatial_dims: int, channels: int) -> Attention:
        """Build the layer for one place in a network."""
        ...


class Attention(nn.Module, ABC):
    """Base of all attention layers: they weigh a feature map and keep its shape.

    Args:
        spatial_dims: 2 or 3.
        channels: ``C`` of the feature map.

    Shape:
        - Input and output ``(B, channels, *S)``, any floating dtype.

    Raises:
        ConfigError: ``spatial_dims`` or ``channels`` that cannot be.
        ShapeError: At call time: an input of another rank or channel count.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.spatial_dims = check_spatial_dims(spatial_dims)
        if channels < 1:
            raise ConfigError(f"expected at least 1 channel, got {channels}")
        self.channels = channels

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Weigh ``x`` of shape ``(B, channels, *S)``."""

    def symmetry(self) -> SymmetryGroup | None:
        """Rotations and reflections with which the layer commutes for every weight; ``None``: no others."""
        return None

    def check_input(self, x: Tensor) -> None:
        """Refuse an input of another rank or channel count.

        Raises:
            ShapeError: With the expected and the received shape.
        """
        if x.dim() != self.spatial_dims + 2 or x.shape[1] != self.channels:
            axes = "H, W" if self.spatial_dims == 2 else "D, H, W"
            raise ShapeError(
                f"{type(self).__name__}: expected (B, {self.channels}, {axes}), got {tuple(x.shape)}"
            )


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """A stretch of code that autocast leaves in the dtype it has, on the device of ``x``."""
    device = x.device.type
    # the meta device, on which shapes are tried, knows no autocast
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def attention_catalogue() -> dict[str, type[Attention]]:
    """Every attention layer by class name, with those announced as ``medconv.attentions``."""
    return catalogue(Attention, "medconv.attentions")  # type: ignore[type-abstract]
