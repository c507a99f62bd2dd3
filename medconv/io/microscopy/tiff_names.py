"""Names of labels inside a TIFF file: a line of text where ImageJ and OME have room for one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape

from tifffile import TiffFile

_BEGINS = "medconv label names: "


def names_as_text(names: Mapping[int, str]) -> str:
    """The line; nothing for no names.

    Example:
        >>> names_as_text({1: "nucleus"})
        'medconv label names: {"1": "nucleus"}'
    """
    return _BEGINS + json.dumps({str(label): name for label, name in names.items()}) if names else ""


def names_from_text(text: str) -> dict[int, str]:
    """What such a line, anywhere in a text, says; nothing where there is none.

    Example:
        >>> names_from_text(names_as_text({0: "background", 1: "nucleus"}))
        {0: 'background', 1: 'nucleus'}
    """
    found = re.search(re.escape(_BEGINS) + r"(\{[^{}\n]*\})", text)
    try:
        pairs = json.loads(found[1]) if found else {}
        return {int(label): str(name) for label, name in pairs.items()}
    except ValueError:
        return {}


def label_names_in(tiff: TiffFile) -> dict[int, str]:
    """The names in the file; empty where it says none."""
    if tiff.is_ome:
        return names_from_text(unescape(tiff.ome_metadata or ""))
    return names_from_text(str((tiff.imagej_metadata or {}).get("Info", "")) if tiff.is_imagej else "")
