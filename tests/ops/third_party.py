"""What somebody else's package looks like: one operator, its own option, no change in medconv."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medconv.ops import StandardConv
from medconv.types import IntOrInts


class ZeroMeanConv(StandardConv):
    """A convolution whose kernels sum to nearly zero, so that flat regions nearly vanish.

    Args:
        share: How much of the mean is taken away, 0 to 1.

    Source: this file.
    """

    neutral = {"share": 0.0}  # noqa: RUF012

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts = 3,
        *,
        stride: IntOrInts = 1,
        dilation: IntOrInts = 1,
        groups: int = 1,
        bias: bool = True,
        spacing_mm: Sequence[float] | None = None,
        share: float = 0.9,
    ) -> None:
        geometry = {"stride": stride, "dilation": dilation, "groups": groups, "bias": bias}
        super().__init__(
            spatial_dims, in_channels, out_channels, kernel_size, spacing_mm=spacing_mm, **geometry
        )
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.dense_weight())

    def dense_weight(self) -> Tensor:
        axes = tuple(range(2, self.weight.dim()))
        return self.weight - self.share * self.weight.mean(dim=axes, keepdim=True)
