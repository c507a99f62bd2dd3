"""Any input size: pad to one that the network can halve, crop the result back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from medconv.ndim import LINEAR_MODE

Margins = list[tuple[int, int]]


class PadToDivisor(nn.Module):
    """Zeros around an image until each size is divisible.

    As many voxels are added before as behind, or one more behind. If the coarsest map would be a single voxel
    (no norm can work on one), the axes of the largest divisor are padded to two of its voxels. Where both
    margins of an axis are equal, reflections stay exact.

    Args:
        divisor: Number per axis.

    Shape:
        - Input ``(B, C, *S)``.
        - Output ``(B, C, *S')`` with ``S' >= S`` divisible by ``divisor``.

    Example:
        >>> import torch
        >>> pad = PadToDivisor((4, 4))
        >>> pad(torch.zeros(1, 1, 10, 8)).shape
        torch.Size([1, 1, 12, 8])
        >>> pad.crop(torch.zeros(1, 3, 12, 8), (10, 8)).shape
        torch.Size([1, 3, 10, 8])
    """

    def __init__(self, divisor: Sequence[int]) -> None:
        super().__init__()
        self.divisor = tuple(divisor)

    def forward(self, x: Tensor) -> Tensor:
        """Pad ``x``; return it unchanged where nothing is missing."""
        margins = self.margins(x.shape[2:])
        if not any(map(any, margins)):
            return x
        return F.pad(x, [n for margin in reversed(margins) for n in margin])

    def crop(self, y: Tensor, size: Sequence[int]) -> Tensor:
        """Take the part of ``y`` that belongs to an unpadded image of spatial shape ``size``.

        A coarser map (an auxiliary output) is first interpolated to the padded grid, since a margin need not
        be a whole number of its voxels; where nothing was padded it is returned as it is.
        """
        margins = self.margins(size)
        if not any(map(any, margins)):
            return y
        padded = [n + before + behind for n, (before, behind) in zip(size, margins, strict=True)]
        if list(y.shape[2:]) != padded:
            y = F.interpolate(y, size=padded, mode=LINEAR_MODE[len(padded)])
        for axis, (n, (before, _)) in enumerate(zip(size, margins, strict=True), start=2):
            y = y.narrow(axis, before, n)
        return y

    def margins(self, size: Sequence[int]) -> Margins:
        """Voxels to add before and behind each axis of an image of spatial shape ``size``."""
        cells = [-(-n // d) for n, d in zip(size, self.divisor, strict=True)]
        if prod(cells) == 1:
            cells = [2 if d == max(self.divisor) else 1 for d in self.divisor]
        missing = [c * d - n for c, d, n in zip(cells, self.divisor, size, strict=True)]
        return [(m // 2, m - m // 2) for m in missing]

    def extra_repr(self) -> str:
        """The divisor."""
        return f"divisor={self.divisor}"
