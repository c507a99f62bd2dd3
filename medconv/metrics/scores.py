"""What each measured quantity is called, which way is better, and what an empty side counts for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf, nan
from typing import Literal, get_args

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, UnknownNameError
from medconv.metrics.rows import CaseRow

Empties = Literal["diagonal", "inf", "nan"]
"""What a structure found on one side only contributes to the means of distances."""


@dataclass(frozen=True)
class Score:
    """One measured quantity of a row.

    Args:
        name: Of the column.
        title: As people write it, with its unit.
        digits: Behind the point, where it is shown.
        best: The value of a perfect prediction.
        is_distance: Infinite where one side is empty, so that the policy for empties applies.
    """

    name: str
    title: str
    digits: int
    best: float
    is_distance: bool = False

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better; of the others, nearer to 0 is."""
        return self.best == 1


SCORES = {
    score.name: score
    for score in (
        Score("dice", "Dice", 4, 1),
        Score("iou", "IoU", 4, 1),
        Score("nsd", "NSD", 4, 1),
        Score("sensitivity", "sensitivity", 4, 1),
        Score("precision", "precision", 4, 1),
        Score("hd95_mm", "HD95 mm", 2, 0, is_distance=True),
        Score("hd_mm", "HD mm", 2, 0, is_distance=True),
        Score("assd_mm", "ASSD mm", 3, 0, is_distance=True),
        Score("masd_mm", "MASD mm", 3, 0, is_distance=True),
        Score("volume_difference_ml", "volume difference ml", 3, 0),
        Score("absolute_volume_difference_ml", "absolute volume difference ml", 3, 0),
    )
}
"""Every quantity that a summary, a comparison or a report can speak of."""


THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""0.5, 0.55 … 0.95: the thresholds of the 2018 Data Science Bowl."""

INSTANCE_SCORES = {
    score.name: score
    for score in (
        Score("ap", "mean AP", 4, 1),
        *(Score(f"ap_{100 * t:.0f}", f"AP@{t:g}", 4, 1) for t in THRESHOLDS),
        *(Score(f"f1_{100 * t:.0f}", f"F1@{t:g}", 4, 1) for t in THRESHOLDS),
        Score("pq", "PQ", 4, 1),
        Score("sq", "SQ", 4, 1),
        Score("rq", "RQ", 4, 1),
        Score("aji", "AJI", 4, 1),
        Score("foreground_dice", "foreground Dice", 4, 1),
        Score("splits", "splits", 2, 0),
        Score("merges", "merges", 2, 0),
    )
}
"""Every quantity of a table of single objects; mean AP is the mean over ``THRESHOLDS``."""


MEMBRANE_SCORES = {
    score.name: score
    for score in (
        Score("v_rand", "V Rand", 4, 1),
        Score("v_rand_split", "V Rand split", 4, 1),
        Score("v_rand_merge", "V Rand merge", 4, 1),
        Score("v_info", "V Info", 4, 1),
        Score("v_info_split", "V Info split", 4, 1),
        Score("v_info_merge", "V Info merge", 4, 1),
    )
}
"""Every quantity of a table of membranes, thinned and restricted to the reference's segments."""

_EVERY = {**INSTANCE_SCORES, **MEMBRANE_SCORES, **SCORES}


def known_score(name: str) -> Score:
    """The score of this name, of whatever kind of table.

    Example:
        >>> known_score("ap_50").title, known_score("hd95_mm").higher_is_better
        ('AP@0.5', False)
    """
    return _EVERY[name]


def check_empties(empties: Empties | float) -> Empties | float:
    """Return the policy if it is one.

    Raises:
        ConfigError: It is neither a known word nor a distance in mm.
    """
    known = get_args(Empties)
    if isinstance(empties, str) and empties in known:
        return empties
    if not isinstance(empties, str) and 0 <= empties < inf:
        return float(empties)
    raise ConfigError(
        f"expected empties one of {', '.join(known)}, or a distance in mm such as 374, got {empties!r}"
    )


def check_scores(names: Collection[str], known: Mapping[str, Score] = SCORES) -> tuple[Score, ...]:
    """The scores of these names.

    Args:
        names: Of ``known``.
        known: The scores of a kind of table.

    Raises:
        UnknownNameError: There is no such score.
    """
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or "."
            raise UnknownNameError(f"no score {name!r}{hint} Scores: {', '.join(known)}")
    return tuple(known[name] for name in names)


def score_of(row: CaseRow, name: str, empties: Empties | float = "diagonal") -> float:
    """A score of a row under a policy for empties.

    Args:
        row: As measured.
        name: One of ``SCORES``.
        empties: What a distance is where one side is empty: the diagonal of the image, infinite, nan (left out
            of every mean) or a number of mm.

    Example:
        >>> missed = CaseRow("a", 1, "organ", 0.0, inf, inf, False, True, 3.0, 0.0, 50.0)
        >>> score_of(missed, "hd95_mm"), score_of(missed, "hd95_mm", 374), score_of(missed, "dice")
        (50.0, 374.0, 0.0)
    """
    if name == "absolute_volume_difference_ml":
        return abs(row.volume_difference_ml)
    value: float = getattr(row, name)
    if value != inf or not SCORES[name].is_distance:
        return value
    if isinstance(empties, str):
        return {"diagonal": row.diagonal_mm, "inf": inf, "nan": nan}[empties]
    return float(empties)
