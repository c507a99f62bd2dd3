"""Masks of all objects are not taken for one object."""

from __future__ import annotations

import numpy as np
import pytest

from medconv.metrics.unnumbered import unnumbered_text

PIECES = np.zeros((9, 30), np.uint8)
PIECES[2:6, 2:8] = PIECES[2:6, 11:17] = PIECES[2:6, 20:27] = 1


@pytest.mark.parametrize("value", [1, 7, 255])
def test_one_number_for_several_pieces_is_told(value: int) -> None:
    assert unnumbered_text(PIECES * np.uint8(value)).startswith(
        "expected one number an object, got one number for 3 separate pieces"
    )


def test_numbered_objects_one_object_with_specks_and_nothing_are_fine() -> None:
    numbered = PIECES.copy()
    numbered[:, 20:] *= 2
    specks = np.zeros((20, 20), np.uint8)
    specks[2:15, 2:15] = specks[18, 18] = specks[0, 19] = 3
    assert not any(map(unnumbered_text, (numbered, specks, np.zeros((4, 4), np.uint8), PIECES[:, :18])))
