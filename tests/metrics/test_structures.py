from __future__ import annotations

import pickle
from math import isnan

import numpy as np
import pytest

from medconv.errors import ConfigError, DatasetError
from medconv.metrics import SegmentationTable, Structures, measure_case

NAMES = {0: "background", 1: "necrosis", 2: "oedema", 3: "enhancing"}
REGIONS = {"whole": [1, 2, 3], "core": (1, 3)}


def maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 4, (2, 3, 3, 3)).astype(np.uint8)
    pred, ref = coarse.repeat(3, 1).repeat(3, 2).repeat(3, 3)
    return pred, ref


def test_a_region_is_measured_as_the_mask_of_its_union() -> None:
    pred, ref = maps()
    rows = Structures(NAMES, REGIONS, tolerances_mm={2: 1.0, -2: 0.5}).measure("a", pred, ref, (1, 1, 2))
    assert [row.label for row in rows] == [1, 2, 3, -1, -2]
    classes = measure_case("a", pred, ref, (1, 1, 2), NAMES, {2: 1.0})
    assert repr(rows[:3]) == repr(classes)
    for row, labels in zip(rows[3:], REGIONS.values(), strict=True):
        masks = (np.isin(side, labels).astype(int) for side in (pred, ref))
        tolerance = {1: 0.5} if row.label == -2 else {}
        (expected,) = measure_case("a", *masks, (1, 1, 2), {1: row.name}, tolerance)
        for figure in ("dice", "hd95_mm", "assd_mm", "tp_voxels", "ref_volume_ml", "nsd"):
            assert repr(getattr(row, figure)) == repr(getattr(expected, figure))
    assert isnan(rows[3].nsd)
    assert rows[4].nsd_tolerance_mm == 0.5


def test_classes_can_be_left_out_but_are_checked() -> None:
    pred, ref = maps()
    only = Structures(NAMES, REGIONS, only_regions=True)
    assert [row.name for row in only.measure("a", pred, ref, 1)] == ["whole", "core"]
    with pytest.raises(DatasetError, match=r"got also \[9\]"):
        only.measure("a", np.where(pred == 1, 9, pred), ref, 1)


def test_a_table_measures_regions_too() -> None:
    pred, ref = maps()
    table = SegmentationTable(NAMES, regions=REGIONS)
    table.add("a", pred, ref, 1)
    assert repr(list(table.compute().rows)) == repr(Structures(NAMES, REGIONS).measure("a", pred, ref, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regions": {"x": [1, 7]}}, r"region 'x': expected labels out of .* got \[1, 7\]"),
        ({"regions": {"x": []}}, r"region 'x': expected labels out of"),
        ({"regions": {"oedema": [1]}}, "expected a different name for every structure"),
        ({"only_regions": True}, "expected regions, got none"),
        ({"tolerances_mm": {-1: 1.0}}, r"tolerances_mm names labels \[-1\]"),
    ],
)
def test_misuse_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Structures(NAMES, **settings)


def test_structures_travel_to_other_processes() -> None:
    plain = Structures({1: "head", 2: "tail"})
    assert pickle.loads(pickle.dumps(plain)) == plain
