"""Study: networks side by side, the same cases, the same questions.

``examine_cases`` subjects cases to rotation, noise, blur and contrast and measures every network on the same
disturbed images; ``Robustness`` keeps what was found, ``curve_points`` and ``compare_levels`` say it in numbers
with intervals. Nothing here draws or writes.
"""

from medconv.study.agreement import Agreement, agreement_of
from medconv.study.answer import Arm
from medconv.study.conditions import KINDS, UPRIGHT, Condition, Kind, build_conditions
from medconv.study.curves import (
    AgreementPoint,
    CurvePoint,
    LevelComparison,
    agreement_points,
    compare_levels,
    curve_points,
)
from medconv.study.disturb import disturb
from medconv.study.examine import Examination, Finding, examine_case
from medconv.study.robustness import CaseFindings, Robustness, examine_cases, require_same_task
from medconv.study.rotation import Rotation

__all__ = [
    "KINDS",
    "UPRIGHT",
    "Agreement",
    "AgreementPoint",
    "Arm",
    "CaseFindings",
    "Condition",
    "CurvePoint",
    "Examination",
    "Finding",
    "Kind",
    "LevelComparison",
    "Robustness",
    "Rotation",
    "agreement_of",
    "agreement_points",
    "build_conditions",
    "compare_levels",
    "curve_points",
    "disturb",
    "examine_case",
    "examine_cases",
    "require_same_task",
]
