"""Names and colours of labels as files that ITK-SNAP and 3D Slicer import.

Neither of them reads names out of a NIfTI file, so they lie beside the masks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from medconv.io.atomic import write_text
from medconv.io.nifti.label_table import label_colour, printable

ITKSNAP_FILE, SLICER_FILE = "labels.txt", "labels.ctbl"

_ITKSNAP_LINE = re.compile(r'\s*(\d{1,9})(?:\s+\d+){3}\s+[\d.]+\s+[01]\s+[01]\s+"([^"]*)"\s*')
_SLICER_LINE = re.compile(r"\s*(\d{1,9})\s+(\S+)(?:\s+\d+){4}\s*")


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


def read_label_files(folder: str | Path) -> tuple[dict[int, str], Path | None]:
    """The names in ``labels.txt``, or in ``labels.ctbl`` where that says none, and the file that they stand in.

    Lines of another shape are passed over, so that a file of somebody else names nothing. In a colour table
    underscores are spaces, as 3D Slicer reads them: the first file is the more exact one.

    Args:
        folder: Of masks.

    Returns:
        Label value to name, without the background, and the file; nothing and ``None`` where no file names a label.

    Example:
        >>> import tempfile
        >>> masks = Path(tempfile.mkdtemp())
        >>> _ = write_label_files(masks, {0: "background", 1: "left lung"})
        >>> names, file = read_label_files(masks)
        >>> names, file.name
        ({1: 'left lung'}, 'labels.txt')
    """
    for name, line in ((ITKSNAP_FILE, _ITKSNAP_LINE), (SLICER_FILE, _SLICER_LINE)):
        path = Path(folder) / name
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        found = {int(match[1]): match[2] for match in map(line.fullmatch, text.splitlines()) if match}
        if name == SLICER_FILE:
            found = {
                value: word.replace("_", " ") for value, word in found.items() if word != f"label_{value}"
            }
        if names := {value: text.strip() for value, text in found.items() if value and text.strip()}:
            return names, path
    return {}, None


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
