"""What can be wrong with a dataset, in words and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from medconv.errors import GeometryError, MedconvError, VoxelValueError

Severity = Literal["error", "warning", "remark"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "remark")

Kind = Literal[
    "dataset",
    "unreadable",
    "geometry",
    "channels",
    "values",
    "labels",
    "empty",
    "constant",
    "duplicate",
    "outlier",
    "spacing",
    "absent",
    "patch",
    "note",
]


@dataclass(frozen=True)
class Problem:
    """One thing to know.

    Args:
        severity: ``"error"``: training would refuse it, or learn from what is not true; ``"warning"``: look at it;
            ``"remark"``: good to know.
        kind: What sort of thing.
        case_id: Of the case; empty where it concerns the whole dataset.
        text: What was expected, what came, what to do.
    """

    severity: Severity
    kind: Kind
    case_id: str
    text: str

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


def problem_of(error: MedconvError, case_id: str) -> Problem:
    """An expected error as a problem of a case."""
    if isinstance(error, GeometryError):
        return Problem("error", "geometry", case_id, str(error))
    return Problem(
        "error", "values" if isinstance(error, VoxelValueError) else "unreadable", case_id, str(error)
    )


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Errors first, then by kind and case."""
    return sorted(problems, key=lambda p: (SEVERITIES.index(p.severity), p.kind, p.case_id, p.text))
