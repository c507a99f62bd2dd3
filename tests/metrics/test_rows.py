from __future__ import annotations

import inspect
import io
import pickle
from dataclasses import replace
from math import isnan

import pytest

from medconv.errors import DatasetError
from medconv.metrics import CaseRow
from medconv.metrics.rows import COLUMNS, read_rows, write_rows

NAN, INF = float("nan"), float("inf")
MEASURED = {"iou": 0.2, "sensitivity": 0.4, "precision": 0.5, "volume_difference_ml": 1.25}
MEASURED |= {"assd_mm": 0.1, "masd_mm": 0.12, "nsd": 2 / 3, "nsd_tolerance_mm": 1.0}
FIRST = ('case, "1"\nß', 1, "left, upper", 0.1 + 0.2, 1 / 3, 0.7, False, False, 1.25, 2.5, 25.98)
ROW = CaseRow(*FIRST, **MEASURED)
MISSED = replace(ROW, label=2, dice=0.0, hd_mm=INF, hd95_mm=INF, pred_empty=True)
ABSENT = replace(ROW, label=3, dice=NAN, hd_mm=NAN, hd95_mm=NAN, ref_empty=True, pred_empty=True)


def test_what_is_written_is_read_back_to_the_last_bit() -> None:
    stream = io.StringIO(newline="")
    write_rows([ROW, MISSED, ABSENT], stream)
    stream.seek(0)
    back = list(read_rows(stream))
    assert back[:2] == [ROW, MISSED]
    assert repr(back[2]) == repr(ABSENT)


def test_columns_may_be_moved_and_added() -> None:
    late = "22,surfel count pooled,0.5 2.0,21,20,19,18," + ",".join(map(str, reversed(range(10, 18))))
    header = "note," + ",".join(reversed(COLUMNS))
    stream = io.StringIO(f"{header}\nx,{late},1,2,3,False,True,6.5,7,0.5,organ,4,a\n")
    (row,) = read_rows(stream)
    floats = map(float, range(10, 18))
    expected = CaseRow(
        *("a", 4, "organ", 0.5, 7, 6.5, True, False, 3, 2, 1),
        *floats,
        *(18, 19, 20, 21, (0.5, 2.0), "surfel count pooled", 22),
    )
    assert row == expected


def test_tables_of_earlier_versions_are_read_and_what_they_lack_is_unknown() -> None:
    old = [name for name in COLUMNS if name in inspect_required()]
    stream = io.StringIO(",".join(old) + "\na,4,organ,0.5,7,6.5,True,False,3,2,1\n")
    (row,) = read_rows(stream)
    assert (row.case_id, row.hd95_mm, row.diagonal_mm) == ("a", 6.5, 1)
    lacking = [getattr(row, name) for name in COLUMNS if name not in old]
    assert all(isnan(value) for value in lacking if isinstance(value, float))
    assert [value for value in lacking if not isinstance(value, float)] == [
        -1,
        -1,
        -1,
        -1,
        (),
        "voxel count directed_max",
        0,
    ]


def inspect_required() -> set[str]:
    empty = inspect.Parameter.empty
    return {n for n, p in inspect.signature(CaseRow).parameters.items() if p.default is empty}


def test_every_float_column_that_has_a_unit_says_it() -> None:
    floats = [name for name in COLUMNS if CaseRow.__annotations__[name] == "float"]
    assert [n for n in floats if not n.endswith(("_mm", "_ml"))] == [
        "dice",
        "iou",
        "sensitivity",
        "precision",
        "nsd",
    ]


def test_rows_travel_between_processes() -> None:
    assert pickle.loads(pickle.dumps(ROW)) == ROW


def test_agreement_forgives_rounding_and_nothing_else() -> None:
    assert ABSENT.agrees_with(replace(ABSENT))
    assert MISSED.agrees_with(replace(MISSED))
    assert ROW.agrees_with(replace(ROW, hd_mm=ROW.hd_mm * (1 + 1e-9)))
    for changed in (
        {"hd_mm": 0.34},
        {"dice": NAN},
        {"name": "right"},
        {"pred_empty": True},
        {"hd95_mm": INF},
        {"nsd_tolerance_mm": 2.0},
        {"masd_mm": NAN},
    ):
        assert not ROW.agrees_with(replace(ROW, **changed))


def test_tables_that_cannot_be_read_say_where() -> None:
    with pytest.raises(DatasetError, match=r"of medconv; missing columns: hd_mm, hd95_mm$"):
        list(read_rows(io.StringIO(",".join(c for c in COLUMNS if not c.startswith("hd")) + "\n")))
    with pytest.raises(DatasetError, match=r"it has none of them") as caught:
        list(read_rows(io.StringIO("a,b\n1,2\n")))
    assert str(caught.value).count("hd95_mm") == 1
    header = ",".join(COLUMNS) + "\n"
    with pytest.raises(DatasetError, match=r"line 2, column dice: expected float, got 'good'"):
        list(read_rows(io.StringIO(header + "a,1,organ,good,1,1,False,False,1,1,1\n")))
    with pytest.raises(DatasetError, match=r"line 2, column ref_empty: expected bool, got 'no'"):
        list(read_rows(io.StringIO(header + "a,1,organ,0.5,1,1,no,False,1,1,1\n")))
    with pytest.raises(DatasetError, match=r"line 2, column diagonal_mm: expected float, got None"):
        list(read_rows(io.StringIO(header + "a,1,organ,0.5,1,1,False,False,1,1\n")))
