from __future__ import annotations

import pytest

from medconv.planning import mirror_axes


@pytest.mark.parametrize(
    ("orientation", "names", "axes"),
    [
        ("native", ["liver"], (0, 1, 2)),
        ("native", ["left lung"], ()),
        ("RAS", ["background", "anterior", "posterior"], (0, 1, 2)),
        ("RAS", ["left kidney"], (1, 2)),
        ("RAS", ["Left-Hippocampus"], (1, 2)),
        ("RAS", ["kidneyRight"], (1, 2)),
        ("ASL", ["hippocampus_L"], (0, 1)),
        ("RAS", ["R lung"], (1, 2)),
        ("RAS", ["bright spot", "vertebra_L1", "liver"], (0, 1, 2)),
    ],
)
def test_the_left_right_axis_is_left_alone_where_labels_name_sides(
    orientation: str, names: list[str], axes: tuple[int, ...]
) -> None:
    assert mirror_axes(orientation, 3, names) == axes


def test_slices_have_two_axes() -> None:
    assert mirror_axes("native", 2, ["cell"]) == (0, 1)
