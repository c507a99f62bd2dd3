"""OME-Zarr images and labels (NGFF 0.4 and 0.5), through zarr, which the extra ``zarr`` installs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError
from medconv.io.microscopy.picture import UNKNOWN, Picture
from medconv.io.microscopy.units import um_per

try:
    import zarr
except ImportError:
    zarr = None  # type: ignore[assignment]

FIXED_AXES = "TCZYX"
"""Before version 0.3 axes were not named, and always these."""


def open_picture(path: Path) -> Picture:
    """Open the finest level of a multiscale image; its chunks are read when pixels are asked for.

    Args:
        path: The folder of the image: ``cells.zarr``, or one inside such as ``plate.zarr/A/1/0``.

    Raises:
        BadImageError: zarr is not installed, or there is no image in the folder.
    """
    group = open_group(path)
    with as_bad_image(path):
        multiscale = _multiscale(group, path)
        datasets = multiscale["datasets"]
        array = group[_inner_path(datasets[0]["path"], path)]
        axes, units = _axes(multiscale, array.ndim)
        if len(axes) != array.ndim or array.dtype.kind not in "biuf":
            raise BadImageError(
                f"{path}: expected real pixels and one name an axis, got {array.dtype} of shape {array.shape} and axes "
                f"{axes}; write it again"
            )
        sizes = _sizes_um(axes, units, [datasets[0], multiscale], array.ndim)
        return Picture(
            path,
            tuple(array.shape),
            axes,
            array.dtype,
            lambda: _Chunks(array, path),
            size_um=sizes,
            label_names=_names(group),
        )


def open_labels(path: Path) -> Picture:
    """Open a label image: the folder itself if it is one, else the only one of its ``labels``.

    Raises:
        BadImageError: As for :func:`open_picture`, or several label images.
    """
    group = open_group(path)
    with as_bad_image(path):
        listed = [] if "image-label" in ome_attributes(group) else label_names_of_group(group)
        names = [_inner_path(name, path) for name in listed]
    if len(names) > 1:
        raise BadImageError(
            f"{path}: expected one label image, got {', '.join(sorted(names))}; name one, such as "
            f"{path / 'labels' / names[0]}"
        )
    return open_picture(path / "labels" / names[0] if names else path)


def open_group(
    path: Path, mode: Literal["r", "r+", "w"] = "r", zarr_format: Literal[2, 3] | None = None
) -> Any:
    """The group of a folder, to be read, changed or made.

    Raises:
        BadImageError: zarr is not installed, or the folder is none of its groups.
    """
    if zarr is None:
        raise BadImageError(
            f"{path}: OME-Zarr needs zarr; pip install 'medconv[zarr]', or convert it to OME-TIFF"
        )
    try:
        return zarr.open_group(path, mode=mode, zarr_format=zarr_format)
    except Exception as error:  # of many kinds, some of zarr's own
        raise BadImageError(
            f"{path}: damaged or no Zarr group ({reason(error)}); name the folder of an OME-Zarr image"
        ) from error


def ome_attributes(group: Any) -> Mapping[str, Any]:
    """What OME says of a group: under ``ome`` since version 0.5, directly before."""
    attributes = dict(group.attrs)
    inner = attributes.get("ome", attributes)
    return inner if isinstance(inner, Mapping) else {}


def label_names_of_group(group: Any) -> Sequence[str]:
    """Names of the label images of an image; none where there are none."""
    if "labels" not in group:
        return []
    listed = ome_attributes(group["labels"]).get("labels", [])
    return [str(name) for name in listed]


@contextmanager
def as_bad_image(path: Path) -> Iterator[None]:
    """Report whatever metadata or chunks can be wrong with as one error."""
    try:
        yield
    except BadImageError:
        raise
    except MemoryError as error:
        raise BadImageError(f"{path}: does not fit into memory; free some, or crop the image") from error
    except Exception as error:  # codecs raise whatever they like
        raise BadImageError(f"{path}: damaged ({reason(error)}); copy it again from its source") from error


def reason(error: BaseException) -> str:
    """First line of an error, or its type."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}"[:160]


class _Chunks:
    """Pixels that are decoded when they are indexed; what is wrong with them names the file."""

    def __init__(self, array: Any, path: Path) -> None:
        self._array, self._path = array, path

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        with as_bad_image(self._path):
            return np.asarray(self._array[index])


def _multiscale(group: Any, path: Path) -> Mapping[str, Any]:
    attributes = ome_attributes(group)
    found = attributes.get("multiscales")
    if found:
        multiscale: Mapping[str, Any] = found[0]
        return multiscale
    if "plate" in attributes or "well" in attributes:
        raise BadImageError(
            f"{path}: expected an image, got a plate; name an image in it, such as {path / 'A' / '1' / '0'}"
        )
    inside = ", ".join(sorted(group.keys())[:10]) or "nothing"
    raise BadImageError(
        f"{path}: expected an OME-Zarr image (multiscales in its attributes), got a group with {inside}; name the "
        f"folder of the image"
    )


def _names(group: Any) -> dict[int, str]:
    described = ome_attributes(group).get("image-label") or {}
    properties = described.get("properties") or ()
    return {int(one["label-value"]): str(one["name"]) for one in properties if "name" in one}


def _inner_path(named: Any, path: Path) -> str:
    inner = PurePosixPath(str(named))
    if inner.is_absolute() or ".." in inner.parts:
        raise BadImageError(
            f"{path}: expected pixels inside the folder, its attributes name {named!r}; write it again"
        )
    return str(inner)


def _axes(multiscale: Mapping[str, Any], ndim: int) -> tuple[str, list[str]]:
    """A letter and a unit an axis."""
    listed = multiscale.get("axes")
    if listed is None:
        return FIXED_AXES if ndim == len(FIXED_AXES) else UNKNOWN * ndim, [""] * ndim
    described = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in listed]
    letters = [str(axis.get("name", "")).upper() for axis in described]
    known = "".join(letter if letter in tuple(FIXED_AXES) else UNKNOWN for letter in letters)
    return known, [str(axis.get("unit") or "") for axis in described]


def _sizes_um(
    axes: str, units: Sequence[str], places: Sequence[Mapping[str, Any]], ndim: int
) -> dict[str, float]:
    scale = np.ones(ndim)
    is_scaled = False
    for place in places:
        for change in place.get("coordinateTransformations", ()):
            if change.get("type") == "scale":
                scale, is_scaled = scale * np.array(change["scale"], float), True
    found = {axis: float(size) * um_per(unit) for axis, size, unit in zip(axes, scale, units, strict=True)}
    return {axis: size for axis, size in found.items() if is_scaled and axis in "YXZ" and 0 < size < math.inf}
