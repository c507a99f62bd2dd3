"""Names and colours of labels as files that ITK-SNAP and 3D Slicer import.

Neither of them reads names out of a NIfTI file, so they lie beside the masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medconv.io.atomic import write_text
from medconv.io.nifti.label_table import label_colour, printable

ITKSNAP_FILE, SLICER_FILE = "labels.txt", "labels.ctbl"


def write_label_files(folder: str | Path, names: Mapping[int, str]) -> list[Path]:
    """Write ``labels.txt`` for ITK-SNAP and ``labels.ctbl`` for 3D Slicer.

    Files of other content that are there already are somebody else's and stay as they are.

    Args:
        folder: Made if it is absent.
        names: Label value to name, 0 the background.

    Returns:
        The files that were left alone, because they hold something else.
    """
    texts = {ITKSNAP_FILE: itksnap_labels(names), SLICER_FILE: slicer_colours(names)}
    foreign = []
    for file, text in texts.items():
        path = Path(folder) / file
        if not path.exists():
            write_text(path, text)
        elif path.read_bytes() != text.encode("utf-8"):
            foreign.append(path)
    return foreign


def itksnap_labels(names: Mapping[int, str]) -> str:
    """A label description for ITK-SNAP: Segmentation, Import Label Descriptions.

    Each line: value, red, green, blue (0 to 255), opacity, visible, visible as a mesh, name in quotes.

    Example:
        >>> itksnap_labels({0: "background", 1: "left lung"}).splitlines()[-1]
        '    1    61   242   114        1  1  1    "left lung"'
    """
    lines = ["# ITK-SnAP Label Description File", "# IDX   -R-   -G-   -B-      -A- VIS MSH  LABEL"]
    for value, name in sorted(names.items()):
        shown = int(value > 0)
        text = printable(name).replace('"', "'") if value else "Clear Label"
        colour = "".join(f"{part:6d}" for part in _bytes(value))
        lines.append(f'{value:5d}{colour}{shown:9d}{shown:3d}{shown:3d}    "{text}"')
    return "\n".join(lines) + "\n"


def slicer_colours(names: Mapping[int, str]) -> str:
    """A colour table for 3D Slicer; it is chosen when a mask is loaded as a segmentation.

    Each line: value, name with underscores for spaces, red, green, blue and opacity (0 to 255).

    Example:
        >>> print(slicer_colours({0: "background", 1: "left lung"}).splitlines()[-1])
        1 left_lung 61 242 114 255
    """
    lines = [f"# Color table file {SLICER_FILE}", f"# {len(names)} values"]
    for value, name in sorted(names.items()):
        red, green, blue = _bytes(value)
        word = "_".join(printable(name).split()) or f"label_{value}"
        lines.append(f"{value} {word} {red} {green} {blue} {255 if value else 0}")
    return "\n".join(lines) + "\n"


def _bytes(value: int) -> tuple[int, ...]:
    return tuple(round(255 * share) for share in label_colour(value))
