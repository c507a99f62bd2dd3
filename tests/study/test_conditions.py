from __future__ import annotations

import pytest
from tiny_checkpoint import tiny_plan

from medconv.errors import ConfigError, UnknownNameError
from medconv.study import KINDS, build_conditions


def words(*args: object) -> list[str]:
    return [condition.words for condition in build_conditions(*args)]  # type: ignore[arg-type]


def test_levels_are_sorted_told_once_and_without_the_neutral_one() -> None:
    assert words({"noise": [1, 0, 0.5, 1], "contrast": [2, 1, 0.5]}, tiny_plan()) == [
        "noise 0.5", "noise 1", "contrast 0.5", "contrast 2"
    ]  # fmt: skip


def test_defaults_follow_from_the_plan() -> None:
    thick = tiny_plan()  # 0.8 × 0.8 × 2.5 mm, RAS
    assert words({"rotate": [], "blur": []}, thick) == [
        *(f"rotate S {angle}" for angle in (15, 30, 45, 60, 75, 90)),
        *(f"blur {mm}" for mm in ("0.4", "0.8", "1.6", "3.2")),
    ]
    native = tiny_plan(spacing_mm=(3.0, 1.0, 1.0), orientation="native")
    assert words({"rotate": [90]}, native) == ["rotate 0 90"]


def test_several_axes_are_several_series_each_once() -> None:
    assert words({"rotate": [90]}, tiny_plan(), ["S", "i", "a"]) == ["rotate S 90", "rotate A 90"]


@pytest.mark.parametrize(
    ("levels", "axes", "message"),
    [
        ({"noise": [-1]}, (), "noise: expected levels from 0, got -1"),
        ({"gamma": [0]}, (), "gamma: expected levels above 0, got 0"),
        ({"rotate": [400]}, (), "rotate: expected angles from -360 to 360 degrees, got 400"),
        ({"blur": [float("nan")]}, (), "blur: expected levels from 0, got nan"),
        ({"rotate": [90]}, ("x",), "expected an axis R, A or S"),
        ({"noise": [1]}, ("S",), "but no rotation is asked for; add --rotate, or leave them out"),
        ({"contrast": [1]}, (), "expected one disturbance at least, other than its neutral level"),
    ],
)
def test_what_there_is_not_is_refused(
    levels: dict[str, list[float]], axes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_conditions(levels, tiny_plan(), axes)


def test_a_misspelt_kind_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"no disturbance 'rotat'; did you mean 'rotate'\?"):
        build_conditions({"rotat": []}, tiny_plan())


def test_every_kind_has_levels_or_a_rule_for_them() -> None:
    assert all(build_conditions({kind: []}, tiny_plan()) for kind in KINDS)
