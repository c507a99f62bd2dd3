"""The contract that every attention layer signs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

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

    is_blind_to_places: bool = False
    """Whether exchanging voxels of the input only exchanges the same voxels of the output."""

    sees_only_means: bool = False
    """Whether the spatial mean of each channel is all that it reacts to: a constant behind an instance norm.

    Such a layer multiplies each channel by a factor. Where a small perceptron of the means gives the factors it may
    offer ``gate_perceptron``; a unit then computes norm, nonlinearity and gate together.
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
        check_map(self, x, self.channels)


class SkipAttentionFactory(Protocol):
    """What a skip-attention slot accepts: a class, or ``partial(AttentionGate, gate="sigmoid")``."""

    def __call__(self, spatial_dims: int, channels: int) -> SkipAttention:
        """Build the layer for one skip connection."""
        ...


class SkipAttention(nn.Module, ABC):
    """Base of layers on a skip connection: the decoder's map decides what the encoder's may say.

    Args:
        spatial_dims: 2 or 3.
        channels: ``C`` of both maps.

    Shape:
        - Inputs: the skip and the decoder's map, on the same grid, both ``(B, channels, *S)``.
        - Output: the skip, weighed, ``(B, channels, *S)``.

    Raises:
        ConfigError: ``spatial_dims`` or ``channels`` that cannot be.
        ShapeError: At call time: maps of another rank or channel count, or of unequal shapes.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.spatial_dims = check_spatial_dims(spatial_dims)
        if channels < 1:
            raise ConfigError(f"expected at least 1 channel, got {channels}")
        self.channels = channels

    @abstractmethod
    def forward(self, skip: Tensor, decoded: Tensor) -> Tensor:
        """Weigh ``skip`` by what ``decoded`` says."""

    def symmetry(self) -> SymmetryGroup | None:
        """Rotations and reflections with which the layer commutes for every weight; ``None``: no others."""
        return None

    def check_inputs(self, skip: Tensor, decoded: Tensor) -> None:
        """Refuse maps of another rank or channel count, or of unequal shapes.

        Raises:
            ShapeError: With the expected and the received shapes.
        """
        check_map(self, skip, self.channels)
        if decoded.shape != skip.shape:
            raise ShapeError(
                f"{type(self).__name__}: expected the decoder's map on the grid of the skip, "
                f"{tuple(skip.shape)}, got {tuple(decoded.shape)}; upsample it first"
            )


def check_map(layer: Attention | SkipAttention, x: Tensor, channels: int) -> None:
    """Refuse a map of another rank or channel count than ``layer`` expects.

    Raises:
        ShapeError: With the expected and the received shape.
    """
    if x.dim() != layer.spatial_dims + 2 or x.shape[1] != channels:
        axes = "H, W" if layer.spatial_dims == 2 else "D, H, W"
        raise ShapeError(f"{type(layer).__name__}: expected (B, {channels}, {axes}), got {tuple(x.shape)}")


def attention_catalogue() -> dict[str, type[Attention]]:
    """Every attention layer by class name, with those announced as ``medconv.attentions``."""
    return catalogue(Attention, "medconv.attentions")  # type: ignore[type-abstract]


def skip_attention_catalogue() -> dict[str, type[SkipAttention]]:
    """Every layer for skip connections by class name, with those announced as ``medconv.attentions``."""
    return catalogue(SkipAttention, "medconv.attentions")  # type: ignore[type-abstract]
