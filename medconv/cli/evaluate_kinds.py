"""The kinds of evaluation: what is measured of a pair, and what becomes of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jsonargparse import Namespace

from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.evaluation import CaseOutcome, Matching
    from medconv.evaluation.measure import Measured
    from medconv.evaluation.pairs import Pair
    from medconv.reporting import ReportNotes

NO_REFERENCE = "no reference of this name"


class Kind(Protocol):
    """What `medconv evaluate` does with pairs of files."""

    def what(self, matching: Matching) -> Measured:
        """What to measure of each pair.

        Raises:
            ConfigError: Options that do not fit what files declare.
        """

    def table(self, outcomes: Sequence[CaseOutcome]) -> Any:
        """One table of everything that could be measured."""

    def told(self, table: Any) -> str:
        """The summary for the screen."""

    def emptiness(self, table: Any) -> str:
        """What makes the whole table doubtful, or nothing."""

    def write(self, table: Any, folder: Path, run: Run) -> list[tuple[str, Path]]:
        """Write tables and report; what each file is called on the screen, and where it is."""


@dataclass(frozen=True)
class Run:
    """What files about a whole evaluation say beside the table.

    Args:
        options: Of the command.
        matching: Which files belong together.
        problems: Cases that could not be measured, and why.
        emptiness: What makes the whole table doubtful, or nothing.
    """

    options: Namespace
    matching: Matching
    problems: Mapping[str, str]
    emptiness: str

    @property
    def about(self) -> tuple[str, ...]:
        """When, and what was compared with what."""
        return (
            date.today().isoformat(),
            f"predictions: {_name(self.options.predictions)}",
            f"references: {_name(self.options.references)}",
        )

    @property
    def not_measured(self) -> dict[str, str]:
        """Everything without a row."""
        return {**self.problems, **dict.fromkeys(self.matching.without_reference, NO_REFERENCE)}

    def notes(self, pictures: Mapping[str, bytes]) -> ReportNotes:
        """What the report tells beside the table."""
        from medconv.reporting import ReportNotes

        return ReportNotes(
            about=self.about,
            pictures=pictures,
            problems=self.problems,
            warning=self.emptiness,
            without_reference=self.matching.without_reference,
        )

    def pairs(self, case_ids: Sequence[str]) -> list[Pair]:
        """The files of some cases, in this order."""
        pairs = {pair.case_id: pair for pair in self.matching.pairs}
        return [pairs[case] for case in case_ids]


def refuse_options(options: Namespace, defaults: Namespace, names: Sequence[str], why: str) -> None:
    """Refuse options that would change nothing.

    Raises:
        ConfigError: One of them has another value than its default.
    """
    for name in names:
        if getattr(options, name) != getattr(defaults, name):
            raise ConfigError(f"--{name.replace('_', '-')}: has no meaning {why}; leave it out")


def _name(path: str) -> str:
    """What a file or folder is called, without the folders above it; a dataset is called as its folder."""
    full = Path(path).resolve()
    return full.parent.name if full.name == "dataset.json" else full.name
