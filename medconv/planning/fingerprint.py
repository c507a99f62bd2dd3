"""What the decisions rest on: shapes and spacings of all cases, intensities where a scale is absolute."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from medconv.errors import BadCasesError, DatasetError, MedconvError
from medconv.io.cases import Case, Dataset, raise_problems
from medconv.io.geometry import reorient_geometry, reorient_shape, require_same_grid
from medconv.io.nifti import Header
from medconv.io.readers import reader_for
from medconv.planning.intensity import Intensity
from medconv.planning.voxels import CaseVoxels, read_voxels


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
            headers.append(check_headers(case, len(dataset.channel_names)))
        except MedconvError as error:
            problems[case.case_id] = str(error)
    refuse_cases(dataset, problems)
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
    if not channels:
        return (None,) * len(dataset.channel_names)
    cases, problems = read_voxels(dataset, channels)
    refuse_cases(dataset, problems)
    return summarise_intensities(dataset, channels, cases)


def summarise_intensities(
    dataset: Dataset, channels: Collection[int], cases: Sequence[CaseVoxels]
) -> tuple[Intensity | None, ...]:
    """The same of voxels that were read already.

    Raises:
        ConfigError: There is no foreground.
    """
    found = {
        c: Intensity.of_samples(case.foreground[c] for case in cases if case.foreground) for c in channels
    }
    return tuple(found.get(channel) for channel in range(len(dataset.channel_names)))


def check_headers(case: Case, channels: int) -> Header:
    """The header of a case's first image, if all its files fit together.

    Raises:
        MedconvError: A file cannot be used, grids differ, or there are other channels than declared.
    """
    images = [reader_for(path, case.layout).read_header(path) for path in case.images]
    found = sum(header.channels for header in images)
    if found != channels:
        raise MedconvError(f"expected {channels} channel(s) as the dataset declares, got {found}")
    labels = [reader_for(case.label, case.layout.of_labels()).read_header(case.label)] if case.label else []
    for other in [*images[1:], *labels]:
        require_same_grid(images[0], other)
    return images[0]


def refuse_cases(dataset: Dataset, problems: Mapping[str, str]) -> None:
    """Raise one error that lists every case with a problem, or return if there is none.

    Raises:
        BadCasesError: ``problems`` is not empty.
    """
    try:
        raise_problems(dataset.root, [f"case {case_id}: {problem}" for case_id, problem in problems.items()])
    except DatasetError as error:
        raise BadCasesError(str(error), problems) from None
