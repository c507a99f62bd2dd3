"""Masks as PNG: grey values of 8 or 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
from PIL import Image

_QUICK = 1
"""Compression of zlib: higher ones save a few per cent and cost several times the time."""


def write_png(path: Path, values: npt.NDArray[Any]) -> None:
    """Write ``(Y, X)`` of uint8 or uint16."""
    Image.fromarray(values).save(path, format="PNG", compress_level=_QUICK)
