"""What a NIfTI header promises, and whether that can be true."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from medconv.errors import BadImageError, GeometryError
from medconv.io.geometry import GRID_TOLERANCE_VOX, geometry_from_affine, grid_difference_vox
from medconv.types import FloatArray, Geometry

MAX_VOXELS = 2**31
"""Default limit of voxels × channels: 8 GiB as float32."""

Form = Literal["qform", "sform"]

_FORMS: tuple[Form, Form] = ("sform", "qform")
_LENGTH_UNIT_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
_NIFTI1_LARGEST_AXIS = 32767
_DEFLATE_LIMIT = 1032
"""Deflate cannot shrink data by more than this factor, so a gzip file bounds what it can hold."""


@dataclass(frozen=True, eq=False)
class Header:
    """What is known of a volume without decoding a voxel.

    Args:
        channels: ``C``.
        shape: ``*S``, three axes as stored.
        geometry: In mm.
        raw: The file's header with its two forms made equal; opaque.
        name: What error messages call the file.
    """

    channels: int
    shape: tuple[int, ...]
    geometry: Geometry
    raw: Any
    name: str


def inspect_header(raw: Any, name: str, form: Form | None = None) -> Header:
    """Check shape, voxel type, scaling and affine of a header.

    Args:
        raw: A nibabel NIfTI header as it is in the file.
        name: How errors call the file.
        form: Which of two disagreeing affines to believe; ``None`` refuses them.

    Raises:
        BadImageError: Zero-size, too many axes, colour or complex voxels, or a meaningless scaling.
        GeometryError: No usable affine, or qform and sform disagree.
    """
    stored = tuple(int(size) for size in raw.get_data_shape())
    _check_shape(stored, name)
    _check_voxel_type(raw, name)
    geometry, settled = _settle_affine(raw, name, form)
    shape = (*stored[:3], 1)[:3]
    return Header(math.prod(stored[3:]), shape, geometry, settled, name)


def header_on_grid(affine: npt.ArrayLike, shape: Sequence[int], name: str, channels: int = 1) -> Header:
    """The header of a volume that was no NIfTI file: masks on its grid get it.

    Args:
        affine: ``(4, 4)``, voxel index to mm, RAS+.
        shape: ``*S``, three axes.
        name: How errors call the volume.
        channels: ``C``.

    Raises:
        BadImageError: An axis without voxels.
        GeometryError: The affine is unusable.
    """
    geometry = geometry_from_affine(affine, name)
    raw = (Nifti2Header if max(shape) > _NIFTI1_LARGEST_AXIS else Nifti1Header)()
    raw.set_data_shape(tuple(shape))
    raw.set_xyzt_units("mm")
    raw.set_sform(geometry.affine, 1)
    raw.set_qform(geometry.affine, 1)
    return replace(inspect_header(raw, name), channels=channels)


def check_fits(raw: Any, name: str, max_voxels: int) -> None:
    """Refuse a header that asks for more voxels than allowed.

    Raises:
        BadImageError: It does; with the numbers.
    """
    voxels = math.prod(int(size) for size in raw.get_data_shape())
    if voxels > max_voxels:
        gigabytes = voxels * 4 / 2**30
        raise BadImageError(
            f"{name}: the header claims {raw.get_data_shape()} = {voxels:,} voxels ({gigabytes:,.1f} GiB as "
            f"float32), more than max_voxels={max_voxels:,}; the header is corrupt, or raise max_voxels"
        )


def check_file_size(raw: Any, name: str, file_bytes: int, compressed: bool) -> None:
    """Refuse a file that is too short to hold the voxels of its header.

    Raises:
        BadImageError: It is; with the numbers.
    """
    voxels = math.prod(int(size) for size in raw.get_data_shape())
    needed = int(raw.get_data_offset()) + voxels * raw.get_data_dtype().itemsize
    possible = file_bytes * _DEFLATE_LIMIT if compressed else file_bytes
    if possible < needed:
        raise BadImageError(
            f"{name}: the file is truncated or its header is corrupt: {raw.get_data_shape()} voxels need "
            f"{needed:,} bytes, a file of {file_bytes:,} bytes holds at most {possible:,}; copy it again "
            f"from its source"
        )


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if any(size < 1 for size in shape) or not shape:
        raise BadImageError(f"{name}: expected at least one voxel along every axis, got the shape {shape}")
    if len(shape) < 2 or len(shape) > 5 or (len(shape) == 5 and shape[3] != 1):
        raise BadImageError(
            f"{name}: expected (X, Y), (X, Y, Z), (X, Y, Z, C) or (X, Y, Z, 1, C), got the shape {shape}"
        )


def _check_voxel_type(raw: Any, name: str) -> None:
    dtype = raw.get_data_dtype()
    if dtype.kind not in "iuf":
        raise BadImageError(
            f"{name}: expected integer or real voxels, got {raw.get_value_label('datatype')}; "
            f"split colour or complex images into real channels"
        )
    slope, inter = float(raw["scl_slope"]), float(raw["scl_inter"])
    # 0 and NaN mean 'not scaled' (NIfTI standard; nibabel)
    scaled = slope != 0 and not math.isnan(slope)
    if scaled and not (math.isfinite(slope) and math.isfinite(inter)):
        raise BadImageError(
            f"{name}: expected a finite intensity scaling, got scl_slope {slope:g}, scl_inter {inter:g}; "
            f"restore the header from the original scan, or set slope 1 and intercept 0 if voxels are "
            f"unscaled"
        )


def _settle_affine(raw: Any, name: str, form: Form | None) -> tuple[Geometry, Any]:
    present = [f for f in _FORMS if int(raw[f"{f}_code"]) > 0]
    if not present:
        warnings.warn(
            f"{name}: the header holds neither qform nor sform; axes are taken as LAS with the pixdim "
            f"spacing. "
            f"Left and right may be swapped",
            stacklevel=4,
        )
        return geometry_from_affine(_in_mm(raw, raw.get_best_affine()), name), raw.copy()
    chosen = form if form in present else present[0]
    affine = _affine(raw, chosen, name)
    geometry = geometry_from_affine(_in_mm(raw, affine), name)
    if len(present) == 2 and form is None:
        _check_forms_agree(raw, geometry.affine, name)
    return geometry, _with_equal_forms(raw, affine, chosen, geometry)


def _affine(raw: Any, form: Form, name: str) -> FloatArray:
    try:
        return np.asarray(raw.get_sform() if form == "sform" else raw.get_qform(), dtype=np.float64)
    except (ValueError, ArithmeticError) as error:
        raise GeometryError(
            f"{name}: the {form} of the header is unusable ({error}); set it anew from the other form or "
            f"restore it from the original scan"
        ) from error


def _in_mm(raw: Any, affine: FloatArray) -> FloatArray:
    scaled = np.array(affine, dtype=np.float64)
    scaled[:3] *= _LENGTH_UNIT_MM.get(int(raw["xyzt_units"]) & 7, 1.0)
    return scaled


def _check_forms_agree(raw: Any, sform_mm: FloatArray, name: str) -> None:
    qform_mm = geometry_from_affine(_in_mm(raw, _affine(raw, "qform", name)), f"{name} (qform)").affine
    shape = (*raw.get_data_shape()[:3], 1)[:3]
    difference = grid_difference_vox(sform_mm, qform_mm, shape)
    if difference > GRID_TOLERANCE_VOX:
        raise GeometryError(
            f"{name}: qform and sform place corners up to {difference:.3g} voxels apart (sform code "
            f"{int(raw['sform_code'])}, qform code {int(raw['qform_code'])}; allowed "
            f"{GRID_TOLERANCE_VOX:g}), so "
            f"viewers would disagree; decide for one and write both equal, with nibabel: "
            f"img.set_qform(img.get_sform(), 1); or read with form='sform' or form='qform'"
        )


def _with_equal_forms(raw: Any, affine: FloatArray, chosen: Form, geometry: Geometry) -> Any:
    code = int(raw[f"{chosen}_code"])
    settled = raw.copy()
    settled.set_sform(affine, code)
    settled.set_qform(affine, code)
    if not np.array_equal(geometry.affine, _in_mm(raw, affine)):
        settled["qform_code"] = 0  # a quaternion cannot hold the shear that was repaired in the geometry
    return settled
