"""How large a pixel is, as a TIFF file says it: in OME-XML, in ImageJ's description, or in its tags."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tifffile import RESUNIT, TiffFile, TiffPage

from medconv.io.microscopy.units import um_per

_UM_PER_CM = 10_000.0
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")


def pixel_sizes_um(tiff: TiffFile) -> dict[str, float]:
    """Edge of a pixel in µm along ``Y``, ``X`` and ``Z``, as far as the file says.

    Dots per inch are for printers and no pixel size.
    """
    if tiff.is_ome and tiff.ome_metadata:
        return ome_sizes_um(tiff.ome_metadata)
    page = tiff.pages.first
    if tiff.is_imagej:
        return imagej_sizes_um(tiff.imagej_metadata or {}, _per_pixel(page))
    if page.tags.get("ResolutionUnit") and page.resolutionunit == RESUNIT.CENTIMETER:
        return {axis: size * _UM_PER_CM for axis, size in _per_pixel(page).items()}
    return {}


def ome_sizes_um(xml: str) -> dict[str, float]:
    """``PhysicalSizeX/Y/Z`` of the first image of OME-XML; µm where no unit stands beside it.

    Example:
        >>> ome_sizes_um('<OME><Image><Pixels PhysicalSizeX="325" PhysicalSizeXUnit="nm" SizeX="9"/></Image></OME>')
        {'X': 0.325}
    """
    # an expression instead of a parser: XML of unknown origin can be built to exhaust memory
    found = _PIXELS.search(xml)
    if found is None:
        return {}
    attributes = dict(re.findall(r'(PhysicalSize[XYZ](?:Unit)?)="([^"]*)"', found[0]))
    sizes = {}
    for axis in "YXZ":
        factor = um_per(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
        size = _number(attributes.get(f"PhysicalSize{axis}")) * factor
        if 0 < size < math.inf:
            sizes[axis] = size
    return sizes


def imagej_sizes_um(metadata: Mapping[str, Any], per_pixel: Mapping[str, float]) -> dict[str, float]:
    """Sizes in the unit of ImageJ's description; none where that is pixels or unknown.

    Args:
        metadata: ``unit`` (maybe ``yunit``, ``zunit``) and ``spacing`` count.
        per_pixel: Units a pixel along ``Y`` and ``X``, from the resolution tags.

    Example:
        >>> imagej_sizes_um({"unit": "um", "spacing": 2.0}, {"Y": 0.5, "X": 0.5})
        {'Y': 0.5, 'X': 0.5, 'Z': 2.0}
    """
    unit = str(metadata.get("unit", ""))
    sizes = {}
    for axis, size in {**per_pixel, "Z": _number(metadata.get("spacing"))}.items():
        factor = um_per(str(metadata.get(f"{axis.lower()}unit", unit)))
        if 0 < size * factor < math.inf:
            sizes[axis] = size * factor
    return sizes


def _per_pixel(page: TiffPage) -> dict[str, float]:
    """Units a pixel; tifffile says 1 where there is no tag."""
    sizes = {}
    for axis, tag in (("Y", "YResolution"), ("X", "XResolution")):
        pixels, units = page.tags[tag].value if tag in page.tags else (0, 1)
        if pixels > 0 and units > 0:
            sizes[axis] = units / pixels
    return sizes


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return 0.0
