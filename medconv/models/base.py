"""What every segmentation network is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from medconv.errors import ConfigError, ShapeError
from medconv.ndim import check_spatial_dims


class SegmentationModel(nn.Module, ABC):
    """Base of all networks: an image in, one logit a class and voxel out.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the image.
        num_classes: ``K``, background included.
        divisor: Number per axis by which a size must be divisible for the network to need no padding inside.

    Raises:
        ConfigError: Numbers out of their range.
    """

    def __init__(self, spatial_dims: int, in_channels: int, num_classes: int, divisor: Sequence[int]) -> None:
        super().__init__()
        self.spatial_dims = check_spatial_dims(spatial_dims)
        if in_channels < 1 or num_classes < 1:
            raise ConfigError(
                f"expected in_channels and num_classes from 1, got {in_channels} and {num_classes}"
            )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.divisor = tuple(divisor)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits ``(B, num_classes, *S)`` for an image ``(B, in_channels, *S)``.

        In training with deep supervision: a list, full resolution first.
        """

    def check_input(self, x: Tensor) -> None:
        """Refuse an image of another rank or channel count, or without voxels.

        Raises:
            ShapeError: With the expected and the received shape.
        """
        if x.dim() != self.spatial_dims + 2 or x.shape[1] != self.in_channels or 0 in x.shape:
            axes = "H, W" if self.spatial_dims == 2 else "D, H, W"
            raise ShapeError(
                f"{type(self).__name__}: expected (B, {self.in_channels}, {axes}), none of them 0, "
                f"got {tuple(x.shape)}"
            )
