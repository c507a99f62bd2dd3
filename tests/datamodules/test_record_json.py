"""A record survives as text with every digit."""

from __future__ import annotations

import numpy as np

from medconv.datamodules.record_json import record_from_json, record_to_json
from medconv.io import volume_from_array
from medconv.planning import Plan
from medconv.transforms import Preprocessor


def test_a_record_comes_back_with_every_digit(oblique_affine):
    volume = volume_from_array(np.random.default_rng(0).normal(size=(9, 8, 7)), affine=oblique_affine)
    names = {0: "background", 1: "organ"}
    plan = Plan(3, ("T1",), names, (1.0, 1.1, 2.0), (8, 8, 8), ("zscore",))
    record = Preprocessor(plan).record(volume)
    back = record_from_json(record_to_json(record))
    assert (back.name, back.shape, back.work_shape) == (record.name, record.shape, record.work_shape)
    for one, other in ((back.geometry, record.geometry), (back.work_geometry, record.work_geometry)):
        np.testing.assert_array_equal(one.affine, other.affine)
        assert one.spacing_mm == other.spacing_mm
        assert one.orientation == other.orientation
