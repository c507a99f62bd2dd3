"""What the decisions rest on: shapes and spacings of all cases, intensities where a scale is absolute."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medconv.errors import BadCasesError, DatasetError, MedconvError
from medconv.io.cases import Case, Dataset, raise_problems
from medconv.io.geometry import reorient_geometry, reorient_shape, require_same_grid
from medconv.io.nifti import Header
from medconv.io.readers import read_image, reader_for
from medconv.planning.intensity import Intensity

_SAMPLES_PER_CASE = 10_000


@dataclass(frozen=True)
class Fingerprint:
    """The grids of a dataset's cases.

    Args:
        shapes: ``*S`` of each case, axes in one common orientation.
        spacings_mm: Voxel edge lengths of each case, same order.
    """

    shapes: tuple[tuple[int, ...], ...]
    spacings_mm: tuple[tuple[float, ...], ...]

    @classmethod
    def of_headers(cls, headers: Sequence[Header], orientation: str = "RAS") -> Fingerprint:
        """Shapes and spacings as they will be once every case is turned to ``orientation``."""
        return cls(
            tuple(reorient_shape(h.shape, h.geometry, orientation) for h in headers),
            tuple(reorient_geometry(h.geometry, h.shape, orientation).spacing_mm for h in headers),
        )


def read_headers(dataset: Dataset) -> tuple[Header, ...]:
    """Read every header of a dataset, and check that the images and the label of each case fit together.

    Returns:
        The header of the first image of each case.

    Raises:
        BadCasesError: Headers that are unusable or grids that differ; every case is listed.
    """
    headers, problems = [], dict[str, str]()
    for case in dataset.cases:
        try:
            headers.append(_check_headers(case, len(dataset.channel_names)))
        except MedconvError as error:
            problems[case.case_id] = str(error)
    _refuse(dataset, problems)
    return tuple(headers)


def read_intensities(dataset: Dataset, channels: Collection[int]) -> tuple[Intensity | None, ...]:
    """The foreground intensities of some channels.

    Args:
        dataset: As discovered.
        channels: Which channels are wanted; where it is empty, no voxel is read.

    Returns:
        One entry a channel of the dataset, ``None`` for those that were not wanted.

    Raises:
        BadCasesError: Cases that cannot be read; every one is listed.
        ConfigError: There is no foreground.
    """
    samples: dict[int, list[npt.NDArray[np.float32]]] = {channel: [] for channel in channels}
    problems: dict[str, str] = {}
    for case in dataset.cases if channels else ():
        try:
            for channel, values in _foreground(dataset, case, channels).items():
                samples[channel].append(values)
        except MedconvError as error:
            problems[case.case_id] = str(error)
    _refuse(dataset, problems)
    found = {channel: Intensity.of_samples(sample) for channel, sample in samples.items()}
    return tuple(found.get(channel) for channel in range(len(dataset.channel_names)))


def _check_headers(case: Case, channels: int) -> Header:
    images = [reader_for(path).read_header(path) for path in case.images]
    found = sum(header.channels for header in images)
    if found != channels:
        raise MedconvError(f"expected {channels} channel(s) as the dataset declares, got {found}")
    labels = [reader_for(case.label).read_header(case.label)] if case.label else []
    for other in [*images[1:], *labels]:
        require_same_grid(images[0], other)
    return images[0]


def _refuse(dataset: Dataset, problems: Mapping[str, str]) -> None:
    try:
        raise_problems(dataset.root, [f"case {case_id}: {problem}" for case_id, problem in problems.items()])
    except DatasetError as error:
        raise BadCasesError(str(error), problems) from None


def _foreground(
    dataset: Dataset, case: Case, channels: Collection[int]
) -> dict[int, npt.NDArray[np.float32]]:
    if case.label is None:
        return {}
    image = read_image(case.images, channels=len(dataset.channel_names))
    labels = reader_for(case.label).read_labels(case.label, allowed=dataset.labels.values, like=image)
    inside = (labels.data[0] != 0) & (labels.data[0] != (dataset.ignore_label or 0))
    return {channel: _spread(image.data[channel][inside]) for channel in channels}


def _spread(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """At most a fixed number of values, evenly from the whole, so that large cases do not outweigh others."""
    step = max(1, len(values) // _SAMPLES_PER_CASE)
    return values[::step]
