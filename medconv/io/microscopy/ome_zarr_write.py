"""Label images as OME-Zarr: of their own, or beside the image that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError
from medconv.io.atomic import atomic_folder
from medconv.io.microscopy.grid import in_um
from medconv.io.microscopy.ome_zarr import label_names_of_group, ome_attributes, open_group
from medconv.io.nifti.label_table import label_colour
from medconv.io.volume import Volume

VERSION = "0.5"
CHUNK = 512
"""Edge of a chunk in a plane; a slice is a chunk of its own."""
_COLOURED = 1024
"""Labels that get a colour; viewers choose those of the others."""


def write_label_image(path: Path, values: npt.NDArray[Any], like: Volume, names: Mapping[int, str]) -> None:
    """Write a label image, chunk by chunk.

    Args:
        path: A folder ``.zarr`` to be made or replaced, or ``IMAGE.zarr/labels/NAME``, which is announced there.
        values: ``(Y, X, Z)``, unsigned.
        like: The image that gives the pixel size.
        names: Of labels.

    Raises:
        BadImageError: zarr is not installed, or the path leads elsewhere into a folder ``.zarr``.
    """
    image = _image_of(path)
    version = VERSION if image is None else _version(open_group(image))
    with atomic_folder(path) as temporary:
        group = open_group(temporary, "w", zarr_format=3 if version == VERSION else 2)
        is_stack = values.shape[-1] > 1
        planes = values.transpose(2, 0, 1) if is_stack else values[..., 0]
        chunks = (1, CHUNK, CHUNK)[-planes.ndim :]
        named = {"dimension_names": list("zyx")[-planes.ndim :]} if version == VERSION else {}
        array = group.create_array(
            "0",
            shape=planes.shape,
            chunks=tuple(min(chunk, size) for chunk, size in zip(chunks, planes.shape, strict=True)),
            dtype=planes.dtype,
            **named,
        )
        for start in range(0, planes.shape[0], chunks[0]):
            array[start : start + chunks[0]] = planes[start : start + chunks[0]]
        described = _described(planes, like, names, version, inside=image is not None)
        group.attrs.update({"ome": {"version": version, **described}} if version == VERSION else described)
    if image is not None:
        _announce(image, path.name, version)


def _image_of(path: Path) -> Path | None:
    """The folder of the image to which a label image is added, if it is."""
    if path.name.lower().endswith(".zarr"):
        return None
    image = path.parent.parent
    if path.parent.name != "labels" or not image.is_dir():
        raise BadImageError(
            f"{path}: expected a folder ending in .zarr, or IMAGE.zarr/labels/NAME of an image that exists; name one "
            f"of them"
        )
    return image


def _version(image: Any) -> str:
    """Of the image: what is put into it has to be of the same."""
    return VERSION if "ome" in image.attrs else "0.4"


def _described(
    planes: npt.NDArray[Any], like: Volume, names: Mapping[int, str], version: str, *, inside: bool
) -> dict[str, Any]:
    geometry = like.geometry
    is_sized = geometry.unit == "mm"
    sizes = dict(zip("yxz", geometry.spacing_mm, strict=True))
    letters = "zyx"[-planes.ndim :]
    unit = {"unit": "micrometer"} if is_sized else {}
    axes = [{"name": letter, "type": "space", **unit} for letter in letters]
    scale = [in_um(sizes[letter]) if is_sized else 1.0 for letter in letters]
    own = {} if version == VERSION else {"version": version}
    return {
        "multiscales": [
            {
                **own,
                "name": "labels",
                "axes": axes,
                "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
            }
        ],
        "image-label": {
            **own,
            "colors": [
                {
                    "label-value": int(value),
                    "rgba": [*(round(255 * part) for part in label_colour(int(value))), 255],
                }
                for value in np.unique(planes)[:_COLOURED]
                if value
            ],
            **({"properties": _properties(names)} if names else {}),
            **({"source": {"image": "../../"}} if inside else {}),
        },
    }


def _properties(names: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"label-value": value, "name": name} for value, name in sorted(names.items()) if value]


def _announce(image: Path, name: str, version: str) -> None:
    """Add a name to the list of the image's labels."""
    group = open_group(image, "r+")
    listed = list(label_names_of_group(group))
    labels = group.require_group("labels")
    attributes = {**ome_attributes(labels), "labels": [*listed, *([] if name in listed else [name])]}
    labels.attrs.update({"ome": {"version": version, **attributes}} if version == VERSION else attributes)
