"""What a user states about microscopy images whose files do not say it: axes, channels, pixel size."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from medconv.errors import ConfigError

AXES = "TCZYX"
"""Time, channel, slice, row, column."""


@dataclass(frozen=True)
class ImageLayout:
    """How images are read; what is left out is what the file says.

    Args:
        axes: One letter an axis in the order they are stored: ``Y`` rows, ``X`` columns, ``Z`` slices, ``C`` (or
            ``S``) channels, ``T`` time, which must have length 1; such as ``"ZYX"``. Empty: what the file says.
        channels: Which channels, from 0, in this order; empty: all.
        pixel_size_um: Edge of a pixel in µm: one number for rows, columns and slices, or three (rows, columns, slices),
            or two for single images. Empty: what the file says, and pixels where it says nothing.

    Raises:
        ConfigError: Axes that are none, channels below 0 or given twice, sizes that are not positive.

    Example:
        >>> ImageLayout("zyx", pixel_size_um=(0.65, 0.65, 2.0)).axes
        'ZYX'
    """

    axes: str = ""
    channels: tuple[int, ...] = ()
    pixel_size_um: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", self.axes.upper().replace("S", "C"))
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "pixel_size_um", tuple(float(size) for size in self.pixel_size_um))
        _check_axes(self.axes)
        if any(channel < 0 for channel in self.channels) or len(set(self.channels)) < len(self.channels):
            raise ConfigError(
                f"channel: expected numbers from 0, each once, such as 0 or 2 0 1; got {list(self.channels)}"
            )
        sizes = self.pixel_size_um
        if len(sizes) > 3 or not all(math.isfinite(size) and size > 0 for size in sizes):
            raise ConfigError(
                "pixel size: expected one number of µm, or one each for rows, columns and slices, such as 0.65 or "
                f"0.65 0.65 2.0; got {list(sizes)}"
            )

    @property
    def is_stated(self) -> bool:
        """Whether the user states anything."""
        return self != AS_STORED

    def of_labels(self) -> ImageLayout:
        """The same for label maps, which have no channels."""
        return ImageLayout(self.axes.replace("C", ""), (), self.pixel_size_um)

    def size_um(self, axis: str) -> float | None:
        """Edge of a pixel along ``Y``, ``X`` or ``Z``, if it is stated; two numbers say nothing of slices.

        Example:
            >>> ImageLayout(pixel_size_um=(0.5, 0.25)).size_um("X")
            0.25
        """
        sizes = self.pixel_size_um * 3 if len(self.pixel_size_um) == 1 else self.pixel_size_um
        return dict(zip("YXZ", sizes, strict=False)).get(axis)


def _check_axes(axes: str) -> None:
    if axes and (re.search(f"[^{AXES}]", axes) or len(set(axes)) < len(axes) or not set("YX") <= set(axes)):
        raise ConfigError(
            f"axes: expected one letter an axis, each once, Y (rows) and X (columns) among them, Z slices, C channels, "
            f"T time; such as YX, YXC or ZYX; got {axes!r}"
        )


AS_STORED = ImageLayout()
"""Nothing is stated: what files say holds."""
