"""How far what a network says of a disturbed image agrees with what it says of the image as it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.metrics import contingency, dice_from


@dataclass(frozen=True)
class Agreement:
    """Two label maps of one image beside each other.

    Args:
        equal_share: Share of voxels with the same label, of those that both maps see.
        dice: Mean Dice between both over the structures that either holds; nan where neither holds any.
        probability_difference: Largest difference of any probability; nan where it was not asked for.
        objects_pq: Panoptic quality of the objects of one map against those of the other; nan for labels.
        do_tiles_turn: Whether ``probability_difference`` is the network's alone, because the tiles turn with the image.
    """

    equal_share: float
    dice: float
    probability_difference: float = nan
    objects_pq: float = nan
    do_tiles_turn: bool = False


def agreement_of(
    one: npt.NDArray[Any],
    other: npt.NDArray[Any],
    inside: npt.NDArray[np.bool_] | None = None,
    probability_difference: float = nan,
) -> Agreement:
    """Compare two label maps of one shape.

    Args:
        one: Integer labels ``(*S)``.
        other: The same on the same grid; which of both is which is of no consequence.
        inside: What both see; ``None``: everything.
        probability_difference: Of the scores behind them, where it is known.

    Raises:
        ShapeError: The maps differ in shape or are not integer.

    Example:
        >>> both = agreement_of(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
        >>> both.equal_share, round(both.dice, 4)
        (0.75, 0.6667)
    """
    if inside is not None:
        one, other = one[inside], other[inside]
    table = contingency(one, other, int(max(one.max(initial=0), other.max(initial=0))) + 1)
    known = dice_from(table)[1:]
    known = known[~np.isnan(known)]
    return Agreement(
        equal_share=float(table.diagonal().sum() / table.sum()),
        dice=float(known.mean()) if len(known) else nan,
        probability_difference=probability_difference,
    )
