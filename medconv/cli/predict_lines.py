"""What `medconv predict` says about each case and, at its end, about all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medconv.inference import CaseResult


def case_line(result: CaseResult) -> str:
    """What became of one case."""
    remark = f"  ({result.message})" if result.message and result.status != "failed" else ""
    return f"{result.status:8}{result.case_id}  {result.seconds:.1f} s  {result.output}{_certainty(result)}{remark}"


def _certainty(result: CaseResult) -> str:
    """Mean probability of each structure, if probabilities were kept."""
    sure = [f"{s.name} {s.mean_probability:.3f}" for s in result.structures if s.mean_probability is not None]
    return f"  certainty: {', '.join(sure)}" if sure else ""


def summary_line(results: Sequence[CaseResult], num_cases: int, seconds: float) -> str:
    """What became of all, and where the time went."""
    count = {status: sum(r.status == status for r in results) for status in ("ok", "skipped", "failed")}
    not_begun = num_cases - len(results)
    text = f"{count['ok']} done, {count['skipped']} skipped, {count['failed']} failed"
    text += f", {not_begun} not finished" if not_begun else ""
    return f"{text} in {seconds:.1f} s{_stages(results)}"


def _stages(results: Sequence[CaseResult]) -> str:
    """Where the time went, if any case was predicted."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.stages)
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in total.items())
    return f" ({spent})" if spent else ""
