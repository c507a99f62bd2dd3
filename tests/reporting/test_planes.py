from __future__ import annotations

import numpy as np

from medconv.reporting.planes import Plane, disagreement, planes_of


def points(*label_maps: np.ndarray) -> list[int]:  # type: ignore[type-arg]
    """Where each axis is cut."""
    planes = planes_of(*label_maps, shape=label_maps[0].shape)
    return [next(p.index for p in planes if p.through == axis) for axis in range(3)]


def test_a_small_class_weighs_as_much_as_a_large_one() -> None:
    labels = np.zeros((20, 20, 20), int)
    labels[2:14, 2:14, 2:14] = 1
    labels[12, 13, 3] = 2
    assert points(labels) == [12, 13, 3]


def test_the_middle_of_equal_slices_is_taken() -> None:
    labels = np.zeros((20, 20, 20), int)
    labels[2:7, 10:15, 19] = 3
    assert points(labels) == [4, 12, 19]


def test_the_first_map_with_a_structure_decides_and_nothing_means_the_middle() -> None:
    nothing, one = np.zeros((5, 8, 11), int), np.zeros((5, 8, 11), int)
    one[1, 2, 3] = 1
    assert points(nothing) == [2, 4, 5]
    assert points(nothing, one) == [1, 2, 3]
    assert points(one, np.ones_like(one)) == [1, 2, 3]


def test_the_largest_disagreement_is_one_piece() -> None:
    truth, prediction = np.zeros((20, 20, 20), int), np.zeros((20, 20, 20), int)
    truth[2:10, 2:10, 2:10] = prediction[2:10, 2:10, 2:10] = 1
    prediction[2, 2:5, 2] = 0
    prediction[15:18, 16, 12:15] = 2
    piece = disagreement(truth, prediction)
    assert points(piece, truth) == [16, 16, 13]
    assert not disagreement(truth, truth).any()


def test_a_cut_has_rows_up_and_columns_across() -> None:
    volume = np.arange(24).reshape(2, 3, 4)
    assert Plane(0, 2, through=1, index=2).cut(volume).tolist() == volume[:, 2, :].T.tolist()
    flat = np.arange(6).reshape(2, 3)
    (plane,) = planes_of(shape=(2, 3))
    assert plane.cut(flat).tolist() == flat.tolist()
