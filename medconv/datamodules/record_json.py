"""A preparation record as text, to lie beside the prepared arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from medconv.transforms.record import Record
from medconv.types import Geometry


def record_to_json(record: Record) -> str:
    """Every number with all its digits."""
    return json.dumps(
        {
            "name": record.name,
            "shape": record.shape,
            "geometry": _geometry_to_plain(record.geometry),
            "work_shape": record.work_shape,
            "work_geometry": _geometry_to_plain(record.work_geometry),
            "box": record.box,
        }
    )


def record_from_json(text: str) -> Record:
    """The inverse of ``record_to_json``."""
    values = json.loads(text)
    return Record(
        name=values["name"],
        shape=tuple(values["shape"]),
        geometry=_geometry_from_plain(values["geometry"]),
        work_shape=tuple(values["work_shape"]),
        work_geometry=_geometry_from_plain(values["work_geometry"]),
        box=tuple((low, high) for low, high in values["box"]) if values.get("box") else None,
    )


def _geometry_to_plain(geometry: Geometry) -> dict[str, Any]:
    return {
        "affine": np.asarray(geometry.affine).tolist(),
        "spacing_mm": list(geometry.spacing_mm),
        "orientation": geometry.orientation,
        "unit": geometry.unit,
    }


def _geometry_from_plain(values: dict[str, Any]) -> Geometry:
    affine = np.asarray(values["affine"], np.float64)
    return Geometry(affine, tuple(values["spacing_mm"]), values["orientation"], values.get("unit", "mm"))
