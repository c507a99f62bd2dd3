"""A viewer in one page: three planes and a surface that anyone can open, offline, without installing anything."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from medconv.io.atomic import write_text
from medconv.reporting.viewer_page import page_html
from medconv.reporting.viewer_volumes import MAX_VOXELS, made_to_fit, to_study


@dataclass(frozen=True)
class Viewer:
    """A page with a viewer; a notebook shows it in a frame.

    Args:
        html: The whole page.
        notes: What was changed to show it, such as a coarser grid.
        height_px: Of the frame in a notebook.
    """

    html: str
    notes: tuple[str, ...] = ()
    height_px: int = 560

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page; it appears whole or not at all."""
        write_text(Path(path), self.html)
        return Path(path)

    def __repr__(self) -> str:
        return f"Viewer({len(self.html) / 2**20:.1f} MiB of HTML; save('page.html') keeps it)"

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.html, quote=True)}" title="Viewer" width="100%" '
            f'height="{self.height_px}" style="border: 0"></iframe>'
        )


def view(
    image: Any,
    *masks: Any,
    label_names: Mapping[int, str] | None = None,
    spacing_mm: Sequence[float] | None = None,
    channel: int = 0,
    title: str | None = None,
    max_voxels: int = MAX_VOXELS,
    downsample: bool = False,
    height_px: int = 560,
) -> Viewer:
    """An interactive viewer of an image and masks, as one page that opens offline in any current browser.

    Three planes and a surface with one crosshair, masks that can be switched and faded, labels by name with
    their volume. NiiVue draws it; the page carries NiiVue and the voxels and fetches nothing.

    Args:
        image: A path, a nibabel image, a ``Volume``, or an array ``(*S)`` with ``spacing_mm``.
        masks: Label maps on the grid of the image: paths, nibabel images, or integer arrays.
        label_names: Name by label value; where it is silent, the names in the files, else the values.
        spacing_mm: Voxel edge lengths of an array; files carry their own.
        channel: Which channel of an image with several.
        title: Heading; ``None``: the name of the image.
        max_voxels: More are shown only with ``downsample``, coarser.
        downsample: Whether a larger image may be shown coarser.
        height_px: Of the frame in a notebook.

    Raises:
        BadImageError: A file that cannot be read, or a mask that is no label map.
        GeometryError: A mask on another grid than the image.
        ConfigError: Too large, a channel that is not there, or an array without spacing.

    Cost:
        The page has 1.1 MiB, and the image and masks as compressed NIfTI, a third larger.

    Example:
        >>> import numpy as np
        >>> ball = ((np.indices((16, 16, 16)) - 8) ** 2).sum(0) < 25
        >>> viewer = view(ball * 100.0, ball.astype(int), label_names={1: "ball"}, spacing_mm=(1, 1, 1))
        >>> "ball" in viewer.html, "<iframe" in viewer._repr_html_()
        (True, True)
    """
    study = made_to_fit(to_study(image, masks, label_names, spacing_mm, channel), max_voxels, downsample)
    return Viewer(page_html(study, title or study.name), study.notes, height_px)
