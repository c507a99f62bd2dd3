"""What the voxels of a dataset say: foreground intensities and the volumes of the classes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from medconv.errors import MedconvError
from medconv.io.cases import Case, Dataset
from medconv.io.readers import read_image, reader_for
from medconv.planning.nonzero import Box, nonzero_box

SAMPLES_PER_CASE = 10_000

_MOST_COUNTED = 2**20
"""Values up to which one counter a value is cheaper than sorting."""

T = TypeVar("T")
Watch = Callable[[Iterable[T]], Iterable[T]]
"""Hands items on and may show that they pass, such as a progress bar."""


@dataclass(frozen=True, eq=False)
class CaseVoxels:
    """One case.

    Args:
        foreground: Intensities of foreground voxels, by channel, thinned evenly.
        volumes_ml: Of each class that occurs, background left out.
        voxels: The same in voxels, where nobody knows how large or how thick those are.
        object_voxels: Of each numbered object.
        case_id: Whose they are.
        box: What cropping to voxels that are not 0 keeps; ``None``: the image was not read.
    """

    foreground: dict[int, npt.NDArray[np.float32]]
    volumes_ml: dict[int, float]
    voxels: dict[int, int] = field(default_factory=dict)
    object_voxels: tuple[int, ...] = ()
    case_id: str = ""
    box: Box | None = None


def read_voxels(
    dataset: Dataset, channels: Collection[int], *, watch: Watch[Case] = iter, threads: int = 1
) -> tuple[list[CaseVoxels], dict[str, str]]:
    """Read label maps, and the images where intensities are wanted.

    Args:
        dataset: As discovered.
        channels: Whose intensities are wanted; where it is empty, no image is read.
        watch: Sees each case when it is done.
        threads: Cases read at a time; decompression and NumPy let go of the interpreter.

    Returns:
        One entry a usable case, and what is wrong with the others by case id.
    """
    found, problems = [], dict[str, str]()
    for case, outcome in in_parallel(
        lambda case: _read(dataset, case, channels), dataset.cases, threads, watch
    ):
        if isinstance(outcome, MedconvError):
            problems[case.case_id] = str(outcome)
        else:
            found.append(outcome)
    return found, problems


def in_parallel(
    work: Callable[[Case], T], cases: Collection[Case], threads: int, watch: Watch[Case] = iter
) -> Iterator[tuple[Case, T | MedconvError]]:
    """Work on cases, several at a time; results in the order of the cases, expected errors in place of results."""

    def attempt(case: Case) -> T | MedconvError:
        try:
            return work(case)
        except MedconvError as error:
            return error

    pool = ThreadPoolExecutor(max(1, threads))
    try:
        yield from zip(watch(cases), pool.map(attempt, cases), strict=True)
    finally:  # after an interruption, cases that wait are not begun
        pool.shutdown(cancel_futures=True)


def count_labels(labels: npt.NDArray[np.unsignedinteger]) -> dict[int, int]:
    """Voxels of each value that occurs, ascending."""
    if labels.max(initial=0) < _MOST_COUNTED:
        counts = np.bincount(labels.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, numbers = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def join_objects(counts: Mapping[int, int]) -> dict[int, int]:
    """Of numbered objects all together: they are of one kind, label 1.

    Example:
        >>> join_objects({0: 90, 3: 4, 7: 6})
        {0: 90, 1: 10}
    """
    joined = {0: counts.get(0, 0), 1: sum(n for value, n in counts.items() if value > 0)}
    return {label: n for label, n in joined.items() if n}


def _read(dataset: Dataset, case: Case, channels: Collection[int]) -> CaseVoxels:
    if case.label is None:
        return CaseVoxels({}, {})
    count = len(dataset.channel_names)
    image = read_image(case.images, channels=count, layout=case.layout) if channels else None
    reader = reader_for(case.label, case.layout.of_labels())
    labels = reader.read_labels(case.label, allowed=dataset.labels.allowed, like=image)
    voxel_ml = prod(labels.geometry.spacing_mm) / 1000
    unknown = dataset.ignore_label or 0  # of these nobody knows what they are
    counts = count_labels(labels.data)
    objects = tuple(n for value, n in counts.items() if value > 0) if dataset.instances else ()
    counts = join_objects(counts) if dataset.instances else counts
    voxels = {value: n for value, n in counts.items() if value not in (0, unknown)}
    volumes_ml = {value: n * voxel_ml for value, n in voxels.items()}
    foreground: dict[int, npt.NDArray[np.float32]] = {}
    if image is not None:
        mask = (labels.data[0] != 0) & (labels.data[0] != unknown)
        foreground = {channel: _spread(image.data[channel][mask]) for channel in channels}
    box = None if image is None else nonzero_box(image.data)
    return CaseVoxels(foreground, volumes_ml, voxels, objects, case.case_id, box)


def _spread(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """At most a fixed number of values, evenly from the whole, so that large cases do not outweigh others."""
    step = max(1, len(values) // SAMPLES_PER_CASE)
    return values[::step]
