"""Cases that resampling would invent or discard most of."""

from __future__ import annotations

import warnings

from medconv.io import Dataset
from medconv.lengths import edges_text
from medconv.planning import Fingerprint, Plan, read_headers

_FAR = 3.0
"""Resampling by more than this invents or discards most of a case; as often, its header is wrong."""


def warn_of_far_spacings(dataset: Dataset, plan: Plan) -> None:
    """Name the cases whose voxels are far from those that the plan works at.

    Args:
        dataset: Its headers are read.
        plan: Made for it.
    """
    spacings = Fingerprint.of_headers(read_headers(dataset), plan.orientation).spacings_mm
    far = [
        f"  - case {case.case_id}: {edges_text(spacing, plan.unit)}"
        for case, spacing in zip(dataset.cases, spacings, strict=True)
        # a plan of slices has no third axis
        if any(max(a / b, b / a) > _FAR for a, b in zip(spacing, plan.spacing_mm, strict=False))
    ]
    if far:
        warnings.warn(
            f"{dataset.root}: the voxels of {len(far)} case(s) are more than {_FAR:g} times larger or "
            f"smaller along an axis than the {edges_text(plan.spacing_mm, plan.unit)} of the plan; "
            "check their headers, or set spacing_mm:\n" + "\n".join(far),
            stacklevel=3,
        )
