"""PNG, JPEG and BMP files, through Pillow."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from medconv.errors import BadImageError
from medconv.io.microscopy.picture import UPRIGHT, Picture, turned_text

_DEFLATE_LIMIT = 1032
"""Deflate cannot shrink data by more than this factor, so a PNG file bounds what it can hold."""
_ORIENTATION = 274
"""Tag of EXIF, and of TIFF."""
_VALUES = 256
"""Of eight bits a pixel."""
# the classes themselves: Image.open would also try formats that the name does not say, and refuse large images
_CLASSES: dict[str, Callable[[Path], ImageFile]] = {
    ".png": PngImageFile,
    ".jpg": JpegImageFile,
    ".jpeg": JpegImageFile,
    ".bmp": BmpImageFile,
}
_GREY = {
    "1": "bool",
    "L": "uint8",
    "I;16": "uint16",
    "I;16B": "uint16",
    "I": "int32",
    "F": "float32",
    "P": "uint8",
}
_COLOUR = {"RGB": 3, "LA": 2, "RGBA": 4}
_DAMAGE = (OSError, EOFError, ValueError, SyntaxError, IndexError, OverflowError)


def open_picture(path: Path) -> Picture:
    """Open a file and read what its header says.

    Resolutions in dots per inch are for printers and no pixel sizes: they are left aside.

    Raises:
        BadImageError: It is no such file, truncated, moving, or of colours that are no intensities (CMYK).
    """
    with _open(path) as image:
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise BadImageError(f"{path}: expected one image, got {frames} frames; save each as a file")
        mode, (width, height) = image.mode, image.size
        try:
            palette = _palette(image)
        except ValueError as error:
            raise BadImageError(
                f"{path}: damaged (its table of colours: {_reason(error)}); copy it again from its source"
            ) from error
        remarks = _remarks(image, path)
        _check_size(path, mode, width * height)
        _refuse_turned(image, path)
    if mode in _GREY:
        shape: tuple[int, ...] = (height, width)
    elif mode in _COLOUR:
        shape = (height, width, _COLOUR[mode])
    else:
        raise BadImageError(
            f"{path}: expected grey values or red, green and blue, got {mode}; save it as RGB"
        )
    return Picture(
        path,
        shape,
        "YXC"[: len(shape)],
        np.dtype(_GREY.get(mode, "uint8")),
        partial(_pixels, path),
        palette=palette,
        has_alpha=mode in ("LA", "RGBA"),
        remarks=remarks,
    )


def _open(path: Path) -> ImageFile:
    kind = _CLASSES[path.suffix.lower()]
    try:
        return kind(path)
    except _DAMAGE as error:
        raise BadImageError(
            f"{path}: damaged or no {path.suffix.lower().lstrip('.').upper()} file ({_reason(error)}); copy it again "
            f"from its source"
        ) from error


def _pixels(path: Path) -> npt.NDArray[Any]:
    with _open(path) as image:
        try:
            pixels = np.asarray(image)
            _refuse_turned(image, path)  # PNG may say it behind the pixels
            # Pillow's True is the byte 255
            return pixels.view(np.uint8) != 0 if pixels.dtype == bool else pixels
        except BadImageError:
            raise
        except MemoryError as error:
            raise BadImageError(f"{path}: does not fit into memory; free some, or crop the image") from error
        except _DAMAGE as error:
            raise BadImageError(
                f"{path}: damaged or truncated ({_reason(error)}); copy it again from its source"
            ) from error


def _palette(image: ImageFile) -> npt.NDArray[np.uint8] | None:
    if image.mode != "P" or image.palette is None:
        return None
    order = image.palette.rawmode or image.palette.mode  # BMP files begin with blue
    entries = np.frombuffer(bytes(image.palette.palette), np.uint8).reshape(-1, len(order))
    palette = np.zeros((_VALUES, 3), np.uint8)
    palette[: len(entries)] = entries[:, [order.index(colour) for colour in "RGB"]]
    return palette


def _remarks(image: ImageFile, path: Path) -> tuple[str, ...]:
    """Of colours with 16 bits Pillow keeps the upper 8."""
    stored = image.tile[0][3] if image.tile else ""
    if image.mode in _COLOUR and isinstance(stored, str) and "16" in stored:
        return (f"{path}: of the 16 bits a colour the upper 8 are read; save it as TIFF to keep all",)
    return ()


def _refuse_turned(image: ImageFile, path: Path) -> None:
    """Refuse pixels that are to be shown turned: some programs do so and others do not, and labels fit to one of them.

    Args:
        image: Open; of what stands behind its pixels nothing is read.
        path: Of the file.

    Raises:
        BadImageError: Its EXIF says so.
    """
    if "exif" not in image.info:
        return
    exif = Image.Exif()
    try:
        exif.load(image.info["exif"])
        turn = int(exif.get(_ORIENTATION, UPRIGHT))
    except (*_DAMAGE, TypeError, struct.error):  # what cannot be read turns nothing
        return
    if turn != UPRIGHT:
        raise BadImageError(turned_text(path, turn))


def _check_size(path: Path, mode: str, pixels: int) -> None:
    """Refuse a PNG that cannot hold the pixels of its header."""
    size = path.stat().st_size
    bits = 1 if mode in ("1", "P", "L") else 8
    if path.suffix.lower() == ".png" and size * _DEFLATE_LIMIT * 8 < pixels * bits:
        raise BadImageError(
            f"{path}: damaged or truncated ({pixels:,} pixels cannot lie in {size:,} bytes); copy it again from its "
            f"source"
        )


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
