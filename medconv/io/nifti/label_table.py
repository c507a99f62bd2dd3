"""Names and colours of labels inside a NIfTI file, where viewers look for them.

The Caret label table is XML in a header extension of registered code 30, which Connectome Workbench reads and
which TotalSegmentator's masks carry too (there under code 0). Programs that do not know it skip it.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from html import unescape
from typing import Any
from xml.etree import ElementTree

from nibabel.nifti1 import Nifti1Extension

CARET_EXTENSION = 30

_GOLDEN_ANGLE = 0.381966
"""Share of the colour wheel between neighbouring labels: the first dozens are far apart."""


def label_table(names: Mapping[int, str]) -> Nifti1Extension:
    """The header extension that names the labels."""
    return Nifti1Extension(CARET_EXTENSION, label_table_xml(names).encode("utf-8"))


def label_table_xml(names: Mapping[int, str]) -> str:
    """Caret's XML for a label map: value, name and colour of every label; 0 is transparent.

    Args:
        names: Label value to name; any text that XML can carry, escaped here.

    Example:
        >>> "grey &amp; white</Label>" in label_table_xml({0: "background", 1: "grey & white"})
        True
    """
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for value, name in sorted(names.items()):
        attributes = {"Key": str(value), **_colour(value)}
        ElementTree.SubElement(table, "Label", attributes).text = printable(name)
    ElementTree.SubElement(volume, "StudyMetaDataLinkSet")
    ElementTree.SubElement(volume, "VolumeType").text = "Label"
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False)


def label_names_in_header(raw: Any) -> dict[int, str]:
    """The names that a file gives its labels, background included; empty where it carries no label table.

    Args:
        raw: The header of a file, as ``read_header(path).raw``.
    """
    for extension in raw.extensions:
        # an expression instead of a parser: XML of unknown origin can be built to exhaust memory
        found = re.findall(rb'<Label\b[^>]*\bKey="(\d{1,9})"[^>]*>([^<]{0,200})</Label>', extension.content)
        if found:
            return {int(key): unescape(name.decode("utf-8", "replace")).strip() for key, name in found}
    return {}


def label_colour(value: int) -> tuple[float, float, float]:
    """Red, green and blue of a label, 0 to 1; the background is black.

    Example:
        >>> label_colour(0)
        (0.0, 0.0, 0.0)
    """
    return colorsys.hsv_to_rgb(value * _GOLDEN_ANGLE % 1, 0.75, 0.95) if value else (0.0, 0.0, 0.0)


def _colour(value: int) -> dict[str, str]:
    shares = zip(("Red", "Green", "Blue"), label_colour(value), strict=True)
    colour = {key: f"{share:.4f}" for key, share in shares}
    return {**colour, "Alpha": "1" if value else "0"}


def printable(name: str) -> str:
    """A name without control characters, which XML 1.0 has no way to write and which break lines of text."""
    return "".join(c if c.isprintable() else " " for c in name)
