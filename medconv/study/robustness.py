"""Networks under disturbance: every case examined on its own, so that one bad case costs one case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from medconv.errors import ConfigError, DatasetError, MedconvError
from medconv.io import Case
from medconv.io.remarks import noted
from medconv.study.agreement import Agreement
from medconv.study.answer import Arm
from medconv.study.conditions import UPRIGHT, Condition
from medconv.study.examine import Examination, Finding, examine_case
from medconv.study.measures import Measure, Table


@dataclass(frozen=True)
class CaseFindings:
    """What became of one case.

    Args:
        case_id: Which one.
        findings: All of them, or none if it failed.
        problem: Why it failed, or nothing.
        remarks: What should be known of it.
    """

    case_id: str
    findings: tuple[Finding, ...] = ()
    problem: str = ""
    remarks: tuple[str, ...] = ()


def examine_cases(
    cases: Iterable[Case], arms: Sequence[Arm], examination: Examination
) -> Iterator[CaseFindings]:
    """Examine case after case and tell of each when it is done; a bad one does not stop the others.

    A case that fails under one condition counts under none: every level is measured on the same cases.

    Args:
        cases: With labels.
        arms: The networks, from ``require_same_task``.
        examination: What is done.
    """
    for case in cases:
        remarks: list[str] = []
        try:
            with noted(remarks):
                findings = tuple(examine_case(case, arms, examination))
        except MedconvError as error:
            yield CaseFindings(case.case_id, problem=str(error))
        except Exception as error:  # one faulty case must not cost a night's work; it is reported and counted
            yield CaseFindings(case.case_id, problem=f"{type(error).__name__}: {error}")
        else:
            yield CaseFindings(case.case_id, findings, remarks=tuple(dict.fromkeys(remarks)))


def require_same_task(arms: Sequence[Arm]) -> None:
    """Refuse networks that do not answer the same question about the same images.

    Raises:
        ConfigError: No network, two of one name, or plans that differ in labels, regions, channels or axes.
    """
    if not arms:
        raise ConfigError("expected a checkpoint, got none")
    if len({arm.name for arm in arms}) < len(arms):
        raise ConfigError(
            f"expected a different name for each network, got {', '.join(arm.name for arm in arms)}"
        )
    first = arms[0]
    for other in arms[1:]:
        for what in ("spatial_dims", "channel_names", "label_names", "regions", "ignore_label", "instances"):
            mine, theirs = (getattr(arm.predictor.plan, what) for arm in (first, other))
            if mine != theirs:
                raise ConfigError(
                    f"expected networks for the same {what.replace('_', ' ')}, {first.name} has {mine}, "
                    f"{other.name} has {theirs}; look at them with medconv info, and compare like with like"
                )


class Robustness:
    """The findings of all cases, table by table.

    Args:
        cases: As ``examine_cases`` gives them; those that failed are left out.
        arms: Names of the networks, in their order.
        conditions: What the cases were subjected to.
        measure: What was measured.

    Raises:
        DatasetError: No case could be examined.
    """

    def __init__(
        self,
        cases: Iterable[CaseFindings],
        arms: Sequence[str],
        conditions: Sequence[Condition],
        measure: Measure,
    ) -> None:
        self.arms, self.conditions, self.measure = tuple(arms), tuple(conditions), measure
        self._found: dict[tuple[str, Condition], dict[str, Finding]] = {}
        for case in cases:
            for finding in case.findings:
                self._found.setdefault((finding.arm, finding.condition), {})[case.case_id] = finding
        if not self._found:
            raise DatasetError("expected at least one case that can be examined, got none")

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The cases that were examined."""
        return tuple(sorted(self._found[self.arms[0], UPRIGHT]))

    @property
    def unit(self) -> str:
        """What lengths are counted in: ``"mm"``, ``"px"``, or both where images differ."""
        return " or ".join(sorted({f.unit for f in self._found[self.arms[0], UPRIGHT].values()}))

    @property
    def series(self) -> dict[str, tuple[Condition, ...]]:
        """The conditions by what is varied, without the upright image."""
        found: dict[str, list[Condition]] = {}
        for condition in self.conditions:
            found.setdefault(condition.series, []).append(condition)
        return {name: tuple(own) for name, own in found.items()}

    def table(self, arm: str, condition: Condition = UPRIGHT) -> Table:
        """Every row of a network under a condition."""
        found = self._found[arm, condition].values()
        return self.measure.table(row for finding in found for row in finding.rows)

    def ceiling(self, condition: Condition) -> Table | None:
        """The reference turned there and back against itself; ``None`` where nothing is turned."""
        return self.table("", condition) if ("", condition) in self._found else None

    def agreement(self, arm: str, condition: Condition) -> dict[str, Agreement]:
        """By case: how far a network says of the disturbed image what it says of the image as it is."""
        found = self._found[arm, condition]
        return {case: own.agreement for case, own in found.items() if own.agreement is not None}
