"""TIFF, ImageJ-TIFF and OME-TIFF files, through tifffile."""

from __future__ import annotations

import math
import re
import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffFileError, TiffPage, TiffPageSeries

from medconv.errors import BadImageError
from medconv.io.microscopy.picture import UNKNOWN, UPRIGHT, Picture, turned_text
from medconv.io.microscopy.tiff_complaints import strictly
from medconv.io.microscopy.tiff_names import label_names_in
from medconv.io.microscopy.tiff_size import pixel_sizes_um

_ALPHA = (1, 2)
"""Values of ExtraSamples that mean opacity."""
_KNOWN = {"S": "C"}
_DAMAGE = (
    TiffFileError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)


def open_picture(path: Path) -> Picture:
    """Open a file and read what its tags, its OME-XML or its ImageJ description say.

    Raises:
        BadImageError: It is no TIFF, truncated, or holds several images that do not fit together.
    """
    try:
        with strictly(), TiffFile(path) as tiff:
            return _picture(tiff, path)
    except BadImageError:
        raise
    except _DAMAGE as error:
        raise BadImageError(
            f"{path}: damaged or no TIFF file ({_reason(error)}); copy it again from its source"
        ) from error


def _picture(tiff: TiffFile, path: Path) -> Picture:
    series = _only_series(tiff, path)
    page = series.keyframe
    turn = int(page.tags.valueof("Orientation", UPRIGHT) or UPRIGHT)
    if turn != UPRIGHT:
        raise BadImageError(turned_text(path, turn))
    _check_extent(series, path)
    axes = "".join(_KNOWN.get(letter, letter) for letter in series.axes)
    axes = "".join(letter if letter in "TCZYX" else UNKNOWN for letter in axes)
    if axes.count("C") > 1:
        raise BadImageError(
            f"{path}: expected one axis of channels, got colours in each of several channels (shape {series.shape}); "
            f"save each channel as grey values"
        )
    if series.dtype is None or series.dtype.kind not in "biuf":
        raise BadImageError(
            f"{path}: expected integer or real pixels, got {series.dtype}; save them as real numbers"
        )
    return Picture(
        path,
        tuple(int(size) for size in series.shape),
        axes,
        series.dtype,
        partial(_pixels, path),
        size_um=pixel_sizes_um(tiff),
        palette=_palette(page),
        has_alpha=series.axes.endswith("S") and bool(page.extrasamples) and page.extrasamples[-1] in _ALPHA,
        remarks=_remarks(page, path),
        label_names=label_names_in(tiff),
    )


def _only_series(tiff: TiffFile, path: Path) -> TiffPageSeries:
    series = tiff.series
    if not series or not all(math.prod(one.shape) for one in series):
        raise BadImageError(f"{path}: expected an image, the file holds none; copy it again from its source")
    if len(series) > 1:
        shapes = ", ".join(str(one.shape) for one in series[:5]) + (", …" if len(series) > 5 else "")
        raise BadImageError(
            f"{path}: expected one image or stack, got {len(series)} that do not fit together ({shapes}); save each as "
            f"a file"
        )
    return series[0]


def _check_extent(series: TiffPageSeries, path: Path) -> None:
    """Refuse a file that ends before its pixels do; absent pages would be read as zeros."""
    pages = [page for page in series.pages if page is not None]
    if len(pages) < len(series.pages):
        raise BadImageError(
            f"{path}: expected {len(series.pages)} pages, some are absent; copy all files of the OME set to one "
            f"folder, or save it as one file"
        )
    size = series.parent.filehandle.size if series.parent is not None else path.stat().st_size
    if series.dataoffset is not None:
        needed = series.dataoffset + series.nbytes
    else:
        needed = max(
            (
                offset + count
                for page in pages
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ),
            default=0,
        )
    if needed > size:
        raise BadImageError(
            f"{path}: damaged or truncated (pixels up to byte {needed:,} in a file of {size:,}); copy it again from "
            f"its source"
        )


def _pixels(path: Path) -> npt.NDArray[Any]:
    compression = ""
    try:
        with strictly(), TiffFile(path) as tiff:
            page = tiff.series[0].keyframe
            compression = COMPRESSION(page.compression).name if page.compression != 1 else ""
            return np.asarray(tiff.series[0].asarray())
    except MemoryError as error:
        raise BadImageError(f"{path}: does not fit into memory; free some, or crop the image") from error
    except _DAMAGE as error:
        if "imagecodecs" in str(error):
            raise BadImageError(
                f"{path}: compressed with {compression}, which needs imagecodecs; pip install imagecodecs, or save the "
                f"image uncompressed"
            ) from error
        raise BadImageError(
            f"{path}: damaged or truncated ({_reason(error)}); copy it again from its source"
        ) from error


def _palette(page: TiffPage) -> npt.NDArray[np.uint8] | None:
    if page.photometric != PHOTOMETRIC.PALETTE or page.colormap is None:
        return None
    # 16 bits a colour in TIFF
    return np.asarray(page.colormap >> 8, np.uint8).T


def _remarks(page: TiffPage, path: Path) -> tuple[str, ...]:
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        return (f"{path}: low values are shown bright (MinIsWhite); pixels are taken as they are stored",)
    return ()


def _reason(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    # tifffile names its own classes and the whole path again
    return re.sub(r"^<tifffile\.[^>]*>\s*", "", text)[:160] or type(error).__name__
