"""Layers that treat the orientations of a field as more of the same voxels."""

from __future__ import annotations

from torch import Tensor, nn

from medconv.ops import pool_fields, split_fields


class OnFields(nn.Module):
    """Let a layer see ``(B, C |G|, *S)`` as ``C`` channels whose first axis is ``|G|`` times as long.

    Norms then have one mean, scale and shift a field, channel attention one gate and dropout one coin, so none of
    them prefers an orientation, and all commute with what a rotation does to fields. Only for layers that do not
    care where a voxel lies.

    Args:
        layer: For ``C`` channels.
        orientations: ``|G|``.

    Shape:
        - Input and output ``(B, C * orientations, *S)``.

    Example:
        >>> import torch
        >>> norm = OnFields(nn.InstanceNorm2d(2), orientations=4)
        >>> norm(torch.randn(1, 8, 5, 5)).unflatten(1, (2, 4)).mean(dim=(2, 3, 4)).abs().max() < 1e-6
        tensor(True)
    """

    def __init__(self, layer: nn.Module, orientations: int) -> None:
        super().__init__()
        self.layer = layer
        self.orientations = orientations

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to the fields of ``x``."""
        return self.layer(split_fields(x, self.orientations).flatten(2, 3)).reshape(x.shape)


class PoolFields(nn.Module):
    """The largest value over the orientations of each field: from fields back to plain channels.

    Args:
        orientations: ``|G|``.

    Shape:
        - Input ``(B, C * orientations, *S)``.
        - Output ``(B, C, *S)``.

    Example:
        >>> import torch
        >>> PoolFields(4)(torch.zeros(1, 8, 5, 5)).shape
        torch.Size([1, 2, 5, 5])
    """

    def __init__(self, orientations: int) -> None:
        super().__init__()
        self.orientations = orientations

    def forward(self, x: Tensor) -> Tensor:
        """Pool the fields of ``x``."""
        return pool_fields(x, self.orientations)

    def extra_repr(self) -> str:
        """Number of orientations."""
        return f"{self.orientations}"


def on_fields(layer: nn.Module, orientations: int) -> nn.Module:
    """``layer`` for fields; as it is where channels stand alone or nothing is done to them."""
    return layer if orientations == 1 or isinstance(layer, nn.Identity) else OnFields(layer, orientations)
