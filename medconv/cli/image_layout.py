"""Options about microscopy images: axes, channels and pixel size, where files do not say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from medconv.io import ImageLayout

_OPTION_OF = {"axes": "axes", "channels": "channel", "pixel_size_um": "pixel_size_um"}
"""The option that says the same as a setting of ``MicroscopyDataModule``."""

LAYOUT_EXAMPLES = {
    "pixel_size_um": "--pixel-size-um 0.65 0.65 2, with what is no option before it",
    "channel": "--channel 0 2, with what is no option before it",
}
"""Both take every word up to the next option."""


def add_layout_options(parser: ArgumentParser, *, has_channel: bool = True) -> None:
    """``--axes``, ``--pixel-size-um`` and, for commands that look at intensities, ``--channel``."""
    add = parser.add_argument
    add("--axes", type=str, default="", help="of TIFF stacks that do not say it: ZYX, CYX, YXC …")
    add(
        "--pixel-size-um",
        type=float,
        nargs="+",
        default=[],
        help="of microscopy images: 0.65, or rows, columns, slices: 0.65 0.65 2; default: what files say, else pixels",
    )
    if has_channel:
        add("--channel", type=int, nargs="+", default=[], help="of microscopy images, from 0; default: all")


def layout_of(options: Namespace, *, has_channel: bool = True) -> ImageLayout:
    """What the options state.

    Args:
        options: Of the command.
        has_channel: Whether its ``--channel`` is the one of these options.

    Raises:
        ConfigError: Something that no image can have.
    """
    from medconv.io import ImageLayout

    channels = tuple(getattr(options, "channel", ())) if has_channel else ()
    return ImageLayout(options.axes, channels, tuple(options.pixel_size_um))


def layout_settings(options: Namespace) -> dict[str, Any]:
    """What the options state, as settings of ``MicroscopyDataModule``."""
    stated = {setting: getattr(options, option) for setting, option in _OPTION_OF.items()}
    return {setting: value for setting, value in stated.items() if value}


def take_layout(settings: Mapping[str, Any], options: Namespace) -> None:
    """Fill in from settings of a data module what was not typed."""
    for setting, option in _OPTION_OF.items():
        value = settings.get(setting)
        if value and not getattr(options, option):
            setattr(options, option, [value] if isinstance(value, int | float) else value)
