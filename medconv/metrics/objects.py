"""Objects of a map by their places: 1, 2, 3 … in the order of their numbers, however those are spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.intp]


def number_objects(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Index]:
    """The numbers that occur, and each voxel's place among them counted from 1; 0 for background.

    Args:
        labels: Object numbers of any shape and integer type, none below 0.

    Cost:
        One look-up a voxel where numbers are not much larger than the map; a sort where they are.

    Example:
        >>> numbers, places = number_objects(np.array([[0, 70000], [5, 5]]))
        >>> numbers.tolist(), places.tolist()
        ([5, 70000], [[0, 2], [1, 1]])
    """
    if labels.dtype == bool:
        labels = labels.view(np.uint8)  # truth values would choose places instead of naming them
    top = int(labels.max(initial=0))
    if top < 4 * labels.size + 1024:
        present = np.zeros(top + 1, dtype=np.intp)
        present[labels] = 1
        present[0] = 0
        return np.flatnonzero(present), (np.cumsum(present) * present)[labels]
    found, place = np.unique(labels, return_inverse=True)
    place = place.reshape(labels.shape)
    return (found[1:], place) if found[0] == 0 else (found, place + 1)
