from __future__ import annotations

import re

import pytest

from medconv.errors import ConfigError
from medconv.io import ImageLayout, reader_for


def test_what_is_stated_is_kept_as_plain_values() -> None:
    layout = ImageLayout("zyxs", [1, 0], [1, 2])
    assert (layout.axes, layout.channels, layout.pixel_size_um) == ("ZYXC", (1, 0), (1.0, 2.0))
    assert layout.is_stated
    assert not ImageLayout().is_stated
    assert ImageLayout("zyxc", [1]).of_labels() == ImageLayout("ZYX")


@pytest.mark.parametrize(
    ("sizes", "by_axis"),
    [((0.5,), (0.5, 0.5, 0.5)), ((0.5, 0.25), (0.5, 0.25, None)), ((1, 2, 3), (1, 2, 3))],
)
def test_sizes_belong_to_rows_columns_and_slices(
    sizes: tuple[float, ...], by_axis: tuple[float, ...]
) -> None:
    layout = ImageLayout(pixel_size_um=sizes)
    assert tuple(layout.size_um(axis) for axis in "YXZ") == by_axis


@pytest.mark.parametrize("axes", ["Y", "YXX", "ABC", "CZ", "YX1"])
def test_axes_that_are_none_are_refused(axes: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"axes: expected one letter an axis, each once, Y .* got '{axes}'"
    ):
        ImageLayout(axes)


@pytest.mark.parametrize("channels", [(-1,), (0, 0)])
def test_channels_that_are_none_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"channel: expected numbers from 0, each once"):
        ImageLayout(channels=channels)


@pytest.mark.parametrize("sizes", [(0.0,), (-1.0,), (float("nan"),), (float("inf"), 1.0), (1, 1, 1, 1)])
def test_sizes_that_are_none_are_refused(sizes: tuple[float, ...]) -> None:
    expected = "pixel size: expected one number of µm, or one each for rows, columns and slices"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        ImageLayout(pixel_size_um=sizes)


def test_nothing_can_be_stated_about_files_that_say_it_themselves() -> None:
    with pytest.raises(
        ConfigError, match=r"scan\.nii: axes, channel and pixel size are stated for .* NIfTI files say"
    ):
        reader_for("scan.nii", ImageLayout("YX"))
    assert reader_for("scan.nii", ImageLayout()).name == "NIfTI"
