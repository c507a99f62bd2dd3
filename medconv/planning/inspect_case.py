"""Everything that can be seen of one case by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from medconv.errors import MedconvError
from medconv.io.cases import Case, Dataset
from medconv.io.geometry import require_same_grid
from medconv.io.nifti import Header
from medconv.io.readers import reader_for
from medconv.io.remarks import noted
from medconv.io.volume import Volume
from medconv.metrics.unnumbered import unnumbered_text
from medconv.planning.problems import Problem, problem_of
from medconv.planning.voxels import count_labels, join_objects

_PERCENTILES = (0.5, 50.0, 99.5)
_SHOWN = 10
_MANY = 3
"""Undeclared values: from more on, they may be numbers of objects."""

FAR_OUT = 100.0
"""Times the range of 99 % of the voxels: a value so far away drags mean and deviation of a z-score along."""


@dataclass(frozen=True)
class CaseFacts:
    """One case as it is compared with the others.

    Args:
        case_id: Its name.
        group: Its group.
        header: Of the first image; ``None`` where that cannot be used.
        image_digest: Of all voxels of all images; empty where one cannot be used.
        label_digest: Of the label map; empty where it cannot be used or holds no structure.
        labels: Voxels of each label in the label map; of all objects together where those are numbered.
        objects: Numbered objects; 0 where label maps hold labels.
        percentiles: 0.5th, 50th and 99.5th of each channel.
        problems: What is wrong with the case itself.
    """

    case_id: str
    group: str
    header: Header | None
    image_digest: str
    label_digest: str
    labels: dict[int, int]
    percentiles: tuple[tuple[float, ...], ...]
    problems: tuple[Problem, ...]
    objects: int = 0


def inspect_case(dataset: Dataset, case: Case) -> CaseFacts:
    """Read a case and note all that is wrong with it, not only the first thing.

    Cost:
        Each file is decoded once; the case is in memory.
    """
    problems: list[Problem] = []
    images = [_read(path, "read_volume", case, problems) for path in case.images]
    volumes = [volume for volume in images if volume is not None]
    channels = sum(volume.channels for volume in volumes)
    if len(volumes) == len(images) and channels != len(dataset.channel_names):
        declared = ", ".join(dataset.channel_names)
        text = f"expected {len(dataset.channel_names)} channel(s) ({declared}) as the dataset declares, got {channels}"
        problems.append(Problem("error", "channels", case.case_id, text))
    label = None
    if case.label is None:
        problems.append(
            Problem("error", "empty", case.case_id, "no label map; draw one, or leave the case out")
        )
    else:
        label = _read(case.label, "read_labels", case, problems)
    problems.extend(_grid_problems(case, [*volumes, *([label] if label else [])]))
    percentiles = [_percentiles(channel) for volume in volumes for channel in volume.data]
    for number, (row, name) in enumerate(zip(percentiles, _names(dataset, len(percentiles)), strict=True)):
        problems.extend(_intensity_problems(case, name, row, _channel(volumes, number)))
    counts = count_labels(label.data) if label else {}
    objects = len(counts) - (0 in counts) if dataset.instances else 0
    if dataset.instances and label and (text := unnumbered_text(label.data[0])):
        problems.append(Problem("error", "labels", case.case_id, text))
    counts = join_objects(counts) if dataset.instances else counts
    problems.extend(_label_problems(case, counts, dataset))
    return CaseFacts(
        case.case_id,
        case.group,
        _header_of(case),
        _digest([volume.data for volume in volumes]) if len(volumes) == len(images) else "",
        _digest([label.data]) if label and set(counts) - {0, dataset.ignore_label} else "",
        counts,
        tuple(percentiles),
        tuple(problems),
        objects,
    )


def _read(
    path: Path, how: Literal["read_volume", "read_labels"], case: Case, problems: list[Problem]
) -> Volume | None:
    remarks: list[str] = []
    try:
        layout = case.layout if how == "read_volume" else case.layout.of_labels()
        with noted(remarks):
            volume: Volume = getattr(reader_for(path, layout), how)(path)
        return volume
    except MedconvError as error:
        problems.append(problem_of(error, case.case_id))
        return None
    finally:
        problems.extend(Problem("remark", "note", case.case_id, text) for text in remarks)


def _grid_problems(case: Case, volumes: Sequence[Volume]) -> Iterator[Problem]:
    for other in volumes[1:]:
        try:
            require_same_grid(volumes[0], other)
        except MedconvError as error:
            yield problem_of(error, case.case_id)


def _intensity_problems(
    case: Case, name: str, percentiles: Sequence[float], channel: npt.NDArray[np.float32]
) -> Iterator[Problem]:
    low, _, high = percentiles
    least, most = float(channel.min()), float(channel.max())
    if least == most:
        text = f"channel {name}: every voxel is {most:g}; is this the right file?"
        yield Problem("warning", "constant", case.case_id, text)
    elif high > low and max(most - high, low - least) > FAR_OUT * (high - low):
        text = (
            f"channel {name}: voxels from {least:g} to {most:g}, while 99 % lie from {low:g} to {high:g}; the rest "
            "drags a z-score along: normalise by percentile, or correct those voxels"
        )
        yield Problem("warning", "outlier", case.case_id, text)


def _label_problems(case: Case, counts: dict[int, int], dataset: Dataset) -> Iterator[Problem]:
    declared = dataset.labels.allowed
    unknown = [value for value in counts if declared is not None and value not in declared]
    if declared is not None and unknown:
        listed = ", ".join(f"{value} ({counts[value]:,} voxels)" for value in unknown[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more values" if len(unknown) > _SHOWN else ""
        text = (
            f"expected only the labels {sorted(declared)}, got also {listed}{more}; declare or correct them"
        )
        text += ", or say that the map numbers objects (instances)" if len(unknown) > _MANY else ""
        yield Problem("error", "labels", case.case_id, text)
    if counts and not set(counts) - {0, dataset.ignore_label}:
        holds = (
            "background only"
            if dataset.ignore_label not in counts
            else "only background and unlabelled voxels"
        )
        text = f"the label map holds {holds}; is that so, or was it never drawn?"
        yield Problem("warning", "empty", case.case_id, text)


def _percentiles(channel: npt.NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.percentile(channel, _PERCENTILES))


def _channel(volumes: Sequence[Volume], number: int) -> npt.NDArray[np.float32]:
    for volume in volumes:
        if number < volume.channels:
            return volume.data[number]
        number -= volume.channels
    raise IndexError(number)


def _names(dataset: Dataset, found: int) -> list[str]:
    declared = list(dataset.channel_names)
    return declared if len(declared) == found else [str(number) for number in range(found)]


def _header_of(case: Case) -> Header | None:
    try:
        return reader_for(case.images[0], case.layout).read_header(case.images[0])
    except MedconvError:
        return None


def _digest(arrays: Sequence[npt.NDArray[np.generic]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
