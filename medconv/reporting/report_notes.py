"""What a report tells beside the figures of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReportNotes:
    """What a report tells beside the figures of its table; everything may be left out.

    Args:
        title: Heading; empty takes that of the kind of report.
        about: Where the table comes from, such as a date and the names of folders; shown below the heading.
        pictures: PNG by case, shown from the worst case on.
        problems: Cases that could not be measured, and why.
        warning: What makes the whole table doubtful, or nothing.
        without_reference: Predictions that there is nothing to measure by.

    Example:
        >>> ReportNotes("Livers", problems={"case_07": "no prediction"}).problems
        {'case_07': 'no prediction'}
    """

    title: str = ""
    about: Sequence[str] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""
    without_reference: Sequence[str] = ()


NO_NOTES = ReportNotes()
