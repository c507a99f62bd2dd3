"""What shows only when the cases of a dataset are put side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import log10, prod

import numpy as np

from medconv.errors import MedconvError
from medconv.io.cases import Dataset
from medconv.lengths import edges_text
from medconv.planning.grid import DatasetGrid, default_orientation
from medconv.planning.inspect_case import CaseFacts
from medconv.planning.problems import Problem
from medconv.planning.rules import median_spacing
from medconv.planning.sizes import initial_patch, pad_to
from medconv.planning.stages import plan_stages

FAR_SPACING = 3.0
"""Resampling by more than this invents or discards most of a case; as often, its header is wrong."""

FAR_INTENSITY = 8.0
"""Robust standard deviations. Scanners differ by powers of ten, so the range of a scan is compared as a logarithm."""

_FEWEST_FOR_OUTLIERS = 8
_MAD_TO_SIGMA = 1.4826


def compare_cases(
    dataset: Dataset, facts: Sequence[CaseFacts], orientation: str | None = None
) -> list[Problem]:
    """Duplicates, outliers, absent classes, spacings and sizes that do not go together.

    Args:
        dataset: As discovered.
        facts: Of each of its cases.
        orientation: That cases are turned to before their grids are compared; ``None``: the dataset's.
    """
    return [
        *_duplicates(facts),
        *_absent_classes(dataset, facts),
        *_objects(dataset, facts),
        *_outliers(dataset, facts),
        *_grids(facts, orientation or default_orientation(dataset)),
    ]


def _duplicates(facts: Sequence[CaseFacts]) -> Iterator[Problem]:
    for same in _alike((one.image_digest, one) for one in facts):
        first, *others = same
        groups = {one.group for one in same}
        for one in others:
            labels = "the labels too" if one.label_digest == first.label_digest else "but the labels differ"
            text = f"has the same voxels as case {first.case_id}, {labels}; keep one of them"
            if len(groups) > 1:
                text += ", or give both one group: a copy in the validation part is no unseen case"
            yield Problem("error" if len(groups) > 1 else "warning", "duplicate", one.case_id, text)
    for same in _alike((one.label_digest, one) for one in facts):
        first, *others = same
        for one in others:
            if one.image_digest != first.image_digest:
                text = f"has the same label map as case {first.case_id}, but another image; is it the right file?"
                yield Problem("error", "duplicate", one.case_id, text)


def _alike(pairs: Iterable[tuple[str, CaseFacts]]) -> list[list[CaseFacts]]:
    found: dict[str, list[CaseFacts]] = {}
    for digest, one in pairs:
        found.setdefault(digest, []).append(one)
    return [same for digest, same in found.items() if digest and len(same) > 1]


def _absent_classes(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[Problem]:
    for value, name in dataset.label_names.items():
        holders = [one.case_id for one in facts if value in one.labels]
        if value > 0 and not holders:
            text = f"class {value} {name!r} occurs in no case, so nothing can be learned of it; add cases"
            yield Problem("error", "absent", "", text)
        elif value > 0 and len(holders) == 1:
            text = f"class {value} {name!r} occurs in case {holders[0]} only: it is trained or validated, never both"
            yield Problem("warning", "absent", "", text)


def _objects(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[Problem]:
    """Label maps of numbered objects that number nothing."""
    drawn = [one for one in facts if one.objects]
    if dataset.instances and len(drawn) > 1 and all(one.objects == 1 for one in drawn):
        text = (
            f"each of the {len(drawn)} label maps that are drawn holds one number only, so each would be one object; "
            "if they are masks of all objects, the labels are semantic, not instances"
        )
        yield Problem("warning", "labels", "", text)


def _outliers(dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[Problem]:
    usable = [one for one in facts if len(one.percentiles) == len(dataset.channel_names)]
    for channel, name in enumerate(dataset.channel_names):
        ranges = {one.case_id: (one.percentiles[channel][0], one.percentiles[channel][2]) for one in usable}
        widths = {case_id: log10(high - low) for case_id, (low, high) in ranges.items() if high > low}
        if len(widths) < _FEWEST_FOR_OUTLIERS:
            continue
        values = np.array(list(widths.values()))
        middle = float(np.median(values))
        sigma = _MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
        for case_id, width in widths.items():
            if abs(width - middle) > max(FAR_INTENSITY * sigma, 1.0):  # less than tenfold is no other unit
                low, high = ranges[case_id]
                factor, than = 10 ** abs(width - middle), "larger" if width > middle else "smaller"
                text = (
                    f"channel {name}: 99 % of the voxels from {low:g} to {high:g}, a range {factor:,.0f} times {than} "
                    "than the median case's; another unit or modality?"
                )
                yield Problem("warning", "outlier", case_id, text)


def _grids(facts: Sequence[CaseFacts], orientation: str) -> Iterator[Problem]:
    known = [(one.case_id, one.header) for one in facts if one.header is not None]
    if not known:
        return
    flat = [case_id for case_id, header in known if header.shape[2] == 1]
    if 0 < len(flat) < len(known):
        text = f"{len(flat)} of {len(known)} cases are single slices ({', '.join(flat[:5])} …), the others volumes"
        yield Problem("warning", "geometry", "", text)
    try:
        grid = DatasetGrid.of([header for _, header in known], orientation, None)
    except MedconvError as error:
        yield Problem("error", "geometry", "", str(error))
        return
    target = median_spacing(grid.spacings_mm, grid.shapes)
    for (case_id, _), spacing in zip(known, grid.spacings_mm, strict=True):
        if any(max(a / b, b / a) > FAR_SPACING for a, b in zip(spacing, target, strict=True)):
            own, planned = edges_text(spacing, grid.unit), edges_text(target, grid.unit)
            text = (
                f"voxels of {own} are more than {FAR_SPACING:g} times larger or smaller along an axis than the "
                f"{planned} that a plan would take; check the header"
            )
            yield Problem("warning", "spacing", case_id, text)
    yield from _small_cases(grid, [case_id for case_id, _ in known])


def _small_cases(grid: DatasetGrid, case_ids: Sequence[str]) -> Iterator[Problem]:
    """The largest patch that a plan could take, against each case."""
    start = initial_patch(grid.shape, grid.spacing_mm)
    patch = pad_to(start, plan_stages(start, grid.spacing_mm).divisor)
    small = []
    for case_id, shape, spacing in zip(case_ids, grid.shapes, grid.spacings_mm, strict=True):
        resampled = tuple(
            round(s * mm / to) for s, mm, to in zip(shape, spacing, grid.spacing_mm, strict=True)
        )
        if any(p > s for p, s in zip(patch, resampled, strict=True)):
            small.append((prod(resampled), case_id, resampled))
    if small:
        _, case_id, size = min(small)
        text = (
            f"{len(small)} of {len(case_ids)} cases are smaller along an axis than a patch of {_by(patch)} and are "
            f"padded with zeros; the smallest is {case_id}, {_by(size)}"
        )
        yield Problem("remark", "patch", "", text)


def _by(numbers: Sequence[float]) -> str:
    return "×".join(f"{number:g}" for number in numbers)
