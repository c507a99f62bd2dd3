"""What cropping to the voxels that are not 0 does to a dataset, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from medconv.errors import MedconvError
from medconv.io.cases import Case, Dataset
from medconv.io.nifti import Header
from medconv.io.readers import read_image
from medconv.planning.nonzero import MASKED_BELOW, Box, kept_share, nonzero_box
from medconv.planning.voxels import CaseVoxels, Watch, in_parallel

_IN_MASK = ("zscore", "percentile", "range")
"""Normalisations that look at the voxels of a case; the others are the same everywhere."""


@dataclass(frozen=True)
class Cropping:
    """The boxes of a dataset's cases.

    Args:
        boxes: By case id; of a case that is not there nothing is known, and nothing is taken off.
        shares: Of the voxels that are kept of these cases.
        is_used: Whether the dataset is cropped at all.
    """

    boxes: Mapping[str, Box] = field(default_factory=dict)
    shares: tuple[float, ...] = ()
    is_used: bool = False

    @classmethod
    def of(cls, dataset: Dataset, headers: Sequence[Header], boxes: Mapping[str, Box]) -> Cropping:
        """From the boxes of all cases that could be read."""
        pairs = zip(dataset.cases, headers, strict=True)
        shares = [kept_share(h.shape, boxes[case.case_id]) for case, h in pairs if case.case_id in boxes]
        return cls(boxes, tuple(shares), is_used=True)

    def headers(self, cases: Sequence[Case], headers: Sequence[Header]) -> tuple[Header, ...]:
        """As if the files had been cropped; only shapes differ, because nothing here depends on where cases lie."""
        return tuple(
            replace(header, shape=tuple(high - low for low, high in self.boxes[case.case_id]))
            if case.case_id in self.boxes
            else header
            for case, header in zip(cases, headers, strict=True)
        )

    def is_masked(self, normalization: Sequence[str]) -> bool:
        """Whether intensities are scaled within the voxels that are not 0."""
        is_asked = any(kind in _IN_MASK for kind in normalization)
        return is_asked and bool(self.shares) and median(self.shares) < MASKED_BELOW

    def plan_values(self, normalization: Sequence[str]) -> dict[str, bool]:
        """As arguments of ``Plan``."""
        if not self.is_used:
            return {}
        return {"crop_to_nonzero": True, "masked_normalization": self.is_masked(normalization)}

    def reasons(self, normalization: Sequence[str]) -> dict[str, str]:
        """Of the values that differ from a plan without cropping."""
        if not self.is_used:
            return {}
        kept = (
            f"keeps {median(self.shares):.0%} of the voxels of the median case"
            if self.shares
            else "not tried"
        )
        crop = f"voxels that are 0 in every channel around a scan say nothing; cropping them {kept}"
        if not self.is_masked(normalization):
            return {"plan.crop_to_nonzero": crop}
        masked = f"cropping {kept}, less than {MASKED_BELOW:.0%}: zeros would decide mean and deviation"
        return {"plan.crop_to_nonzero": crop, "plan.masked_normalization": masked}

    def facts(self) -> dict[str, Any]:
        """For people."""
        if not self.shares:
            return {}
        parts = {"min": min(self.shares), "median": median(self.shares), "max": max(self.shares)}
        return {"share_kept_by_cropping": {name: float(f"{share:.4g}") for name, share in parts.items()}}


def find_cropping(
    dataset: Dataset,
    headers: Sequence[Header],
    voxels: Sequence[CaseVoxels],
    watch: Watch[Case] = iter,
    threads: int = 1,
) -> Cropping:
    """Read the images, unless that was done, and see what is plain 0 around them.

    Microscopy is not cropped: what is not lit there is dark, not missing. A case that cannot be read is left to
    those who need its voxels.

    Args:
        dataset: As discovered.
        headers: Of its cases.
        voxels: What was read of the cases already; with boxes, if there is any.
        watch: Sees each case when it is done.
        threads: Cases read at a time.

    Cost:
        One reading of every image, unless ``voxels`` has the boxes.
    """
    if dataset.is_microscopy:
        return Cropping()
    if voxels:
        return Cropping.of(dataset, headers, {case.case_id: case.box for case in voxels if case.box})
    count, boxes = len(dataset.channel_names), dict[str, Box]()

    def box_of(case: Case) -> Box:
        return nonzero_box(read_image(case.images, channels=count, layout=case.layout).data)

    for case, box in in_parallel(box_of, dataset.cases, threads, watch):
        if not isinstance(box, MedconvError):
            boxes[case.case_id] = box
    return Cropping.of(dataset, headers, boxes)
