"""What an instance mask says about each object: how large, where, how bright, of what shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from medconv.errors import ShapeError
from medconv.io import Volume
from medconv.metrics.objects import number_objects
from medconv.types import FloatArray

Numbers = npt.NDArray[Any]

_STRAIGHT, _DIAGONAL, _MIXED = 1.0, 2**0.5, (1 + 2**0.5) / 2
_PERIMETER_STEPS = dict.fromkeys((5, 7, 15, 17, 25, 27), _STRAIGHT)
_PERIMETER_STEPS |= dict.fromkeys((21, 33), _DIAGONAL) | dict.fromkeys((13, 23), _MIXED)
"""Length that a boundary pixel stands for, by 10 x its diagonal + 2 x its straight neighbours + 1."""


@dataclass(frozen=True, eq=False)
class Regions:
    """The objects of one mask, a row each, as columns; lengths in ``unit``.

    Args:
        unit: ``"um"``, or ``"px"`` where nobody stated the size of a pixel.
        axes: 2 for an image, 3 for a stack.
        number: The object's number in the mask.
        pixels: How many pixels (voxels in a stack) it has.
        size: Area in ``unit``² (volume in ``unit``³).
        centroid: ``(objects, axes)``: row, column (and slice), from the centre of the first pixel.
        box_px: ``(objects, 2 * axes)``: first row, column (and slice), then the first ones beyond, in pixels.
        mean_intensity: ``(objects, channels)`` of the image as it was read.
        min_intensity: Likewise.
        max_intensity: Likewise.
        major_axis: Length of the longest axis of the ellipse (ellipsoid) with the same second moments.
        minor_axis: Of the shortest.
        eccentricity: Of that ellipse, 0 for a circle up to 1; nan in a stack.
        orientation_rad: Angle from the rows' axis to the long axis, counter-clockwise, -pi/2 to pi/2; nan in a stack.
        perimeter: Length of the boundary, straight and diagonal steps weighted as such; nan in a stack and where
            pixels are not square.
        touches_border: Whether a pixel lies on the edge of the image, so that the object may be larger.
    """

    unit: str
    axes: int
    number: Numbers
    pixels: Numbers
    size: FloatArray
    centroid: FloatArray
    box_px: Numbers
    mean_intensity: FloatArray
    min_intensity: FloatArray
    max_intensity: FloatArray
    major_axis: FloatArray
    minor_axis: FloatArray
    eccentricity: FloatArray
    orientation_rad: FloatArray
    perimeter: FloatArray
    touches_border: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.number)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each object as a mapping of field to value."""
        columns = [f.name for f in fields(self) if f.name not in ("unit", "axes")]
        lists = [getattr(self, name).tolist() for name in columns]
        yield from (dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True))


def measure_regions(labels: npt.NDArray[Any], volume: Volume) -> Regions:
    """Properties of every object of a mask, by the conventions of scikit-image's ``regionprops``, in a few passes.

    Args:
        labels: Object numbers ``(rows, columns, slices)`` on the grid of ``volume``, 0 is background.
        volume: The image.

    Raises:
        ShapeError: The mask has another shape than the image.

    Cost:
        Some 10 ms for 100 nuclei in 512 x 512.

    Example:
        >>> from medconv.io import volume_from_array
        >>> volume = volume_from_array(np.full((6, 8, 1), 7.0), (0.001, 0.001, 0.001))
        >>> labels = np.zeros((6, 8, 1), np.uint16)
        >>> labels[1:3, 1:5] = 9
        >>> regions = measure_regions(labels, volume)
        >>> regions.number.tolist(), regions.unit, regions.size.round(3).tolist(), regions.centroid.round(3).tolist()
        ([9], 'um', [8.0], [[1.5, 2.5]])

    Source: perimeter: Benkrid and Crookes, "Design and FPGA implementation of a perimeter estimator", 2000.
    """
    if labels.shape != volume.shape:
        raise ShapeError(f"expected a mask of the image's shape {volume.shape}, got {labels.shape}")
    axes = 2 if labels.shape[2] == 1 else 3
    image = volume.data
    if axes == 2:
        image, labels = image[..., 0], labels[..., 0]
    unit, edges = _edges(volume, axes)
    numbers, places = number_objects(labels)
    inside = np.flatnonzero(places)
    # objects of up to 65 535 are sorted by counting, which takes a tenth of the time
    owner = (places.ravel()[inside] - 1).astype(np.uint16 if len(numbers) < 2**16 else np.intp)
    indices = np.array(np.unravel_index(inside, labels.shape))
    pixels = np.bincount(owner, minlength=len(numbers))
    centre_px = np.array([np.bincount(owner, index, len(numbers)) for index in indices]).T / pixels[:, None]
    box_px = _boxes(places)
    low, high, average = _intensities(image.reshape(len(image), -1)[:, inside], owner, pixels)
    shape = _Ellipses(owner, indices, centre_px, pixels, edges)
    return Regions(
        unit=unit,
        axes=axes,
        number=numbers,
        pixels=pixels,
        size=pixels.astype(np.float64) * float(np.prod(edges)),
        centroid=centre_px * edges,
        box_px=box_px,
        mean_intensity=average,
        min_intensity=low,
        max_intensity=high,
        major_axis=shape.major,
        minor_axis=shape.minor,
        eccentricity=shape.eccentricity,
        orientation_rad=shape.orientation_rad,
        perimeter=_perimeters(places, len(numbers), edges),
        touches_border=_touches(box_px, labels.shape),
    )


class _Ellipses:
    """The ellipses with the second moments of the objects."""

    def __init__(
        self,
        owner: Numbers,
        indices: npt.NDArray[np.intp],
        centre_px: FloatArray,
        pixels: Numbers,
        edges: FloatArray,
    ) -> None:
        away = (indices - centre_px[owner].T) * edges[:, None]
        axes, count = len(edges), len(pixels)
        moments = np.empty((count, axes, axes))
        for a in range(axes):
            for b in range(a + 1):
                sums = np.bincount(owner, away[a] * away[b], count) / pixels
                moments[:, a, b] = moments[:, b, a] = sums
        spread = np.clip(np.linalg.eigvalsh(moments), 0, None)
        factor = 16.0 if axes == 2 else 20.0
        self.major, self.minor = np.sqrt(factor * spread[:, -1]), np.sqrt(factor * spread[:, 0])
        self.eccentricity = self.orientation_rad = np.full(count, np.nan)
        if axes == 2:
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = np.where(spread[:, 1] > 0, spread[:, 0] / spread[:, 1], 1.0)
            self.eccentricity = np.sqrt(1 - ratio)
            rows, both, columns = moments[:, 0, 0], moments[:, 0, 1], moments[:, 1, 1]
            undecided = np.where(both > 0, np.pi / 4, -np.pi / 4)
            turned = 0.5 * np.arctan2(2 * both, rows - columns)
            self.orientation_rad = np.where(rows == columns, undecided, turned)


def _intensities(
    values: npt.NDArray[Any], owner: Numbers, pixels: Numbers
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least, largest and mean value of each object in each channel."""
    if not len(pixels):
        nothing = np.empty((0, len(values)))
        return nothing, nothing, nothing
    values = values[:, np.argsort(owner, kind="stable")].astype(np.float64)
    starts = np.cumsum(pixels) - pixels
    low, high, total = (f.reduceat(values, starts, axis=1).T for f in (np.minimum, np.maximum, np.add))
    return low, high, total / pixels[:, None]


def _boxes(places: npt.NDArray[np.intp]) -> Numbers:
    found = scipy.ndimage.find_objects(places)
    boxes = [[s.start for s in box] + [s.stop for s in box] for box in found]
    return np.array(boxes, dtype=np.int64).reshape(len(found), 2 * places.ndim)


def _touches(box_px: Numbers, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    low, high = box_px[:, : len(shape)], box_px[:, len(shape) :]
    result: npt.NDArray[np.bool_] = (low == 0).any(axis=1) | (high == np.array(shape)).any(axis=1)
    return result


def _edges(volume: Volume, axes: int) -> tuple[str, FloatArray]:
    """The unit, and the edge lengths of a pixel in it."""
    lengths = np.array(volume.geometry.spacing_mm[:axes])
    return ("px", lengths) if volume.geometry.unit == "px" else ("um", 1000 * lengths)


def _perimeters(places: npt.NDArray[np.intp], count: int, edges: FloatArray) -> FloatArray:
    """Each boundary pixel counts as the steps to its neighbours on the boundary of the same object."""
    if len(edges) != 2 or not np.isclose(edges[0], edges[1], rtol=1e-6):
        return np.full(count, np.nan)
    padded = np.pad(places.astype(np.int32), 1)
    middle = padded[1:-1, 1:-1]

    def shifted(array: Numbers, row: int, column: int) -> Numbers:
        return array[1 + row : array.shape[0] - 1 + row, 1 + column : array.shape[1] - 1 + column]

    straight, diagonal = ((-1, 0), (1, 0), (0, -1), (0, 1)), ((-1, -1), (-1, 1), (1, -1), (1, 1))
    differs = np.zeros(middle.shape, bool)
    for step in straight:
        differs |= shifted(padded, *step) != middle
    edge = np.zeros_like(padded)
    edge[1:-1, 1:-1] = middle * differs
    owner = edge[1:-1, 1:-1]
    code = np.ones(middle.shape, np.int8)
    for steps, weight in ((straight, 2), (diagonal, 10)):
        for step in steps:
            code += np.int8(weight) * (shifted(edge, *step) == owner).view(np.int8)
    on_edge = np.flatnonzero(owner)
    length = np.zeros(64)
    length[list(_PERIMETER_STEPS)] = list(_PERIMETER_STEPS.values())
    sums = np.bincount(owner.ravel()[on_edge] - 1, length[code.ravel()[on_edge]], count)
    return sums.astype(np.float64) * edges[0]  # of no object at all NumPy makes whole numbers
