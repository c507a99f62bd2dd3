"""What is called a surface, and how one number is made of two lists of distances; part of every figure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from medconv.errors import ConfigError

Directions = Literal["directed_max", "pooled"]
Element = Literal["voxel", "surfel"]
Edge = Literal["count", "ignore"]

_CHOICES = {"surface": get_args(Element), "edge": get_args(Edge), "directions": get_args(Directions)}
_WORDS = {
    "voxel": "voxel centres, face neighbours",
    "surfel": "surface elements weighted by area",
    "count": "image edge counted",
    "ignore": "image edge ignored",
    "directed_max": "larger of both directions",
    "pooled": "both directions pooled",
}


@dataclass(frozen=True)
class SurfaceConvention:
    """How surface distances are measured. Figures of different conventions must not share a table.

    Args:
        surface: ``"voxel"``: the centres of the voxels that share a face with another label, each of the same
            weight; percentiles interpolate (MONAI, MedPy, Metrics Reloaded). ``"surfel"``: the elements
            between 2 x 2 x 2 voxels, each weighted by the area of its marching-cubes surface; percentiles
            do not interpolate (DeepMind's ``surface-distance``). Choose the second where voxels are far from
            cubes, or where a published figure was measured so.
        edge: ``"count"``: the outside of the image is background, so a structure cut off by the field of view
            has a surface there, which agrees by itself. ``"ignore"``: the cut is no surface. A structure that
            fills the image then has none: its distances are infinite, and count in means as those of a missed one
            do, or nan if both maps are full of it; summaries count both as ``n_without_surface``.
        directions: What ``hd95_mm`` is made of: the larger of the two directed percentiles, or the percentile
            of both lists together, which an island on one side hardly moves (MedPy's ``hd95``).

    Raises:
        ConfigError: An unknown value.

    Example:
        >>> SurfaceConvention().describe()
        'surface: voxel centres, face neighbours, image edge counted; hd95: larger of both directions'
        >>> SurfaceConvention("surfel", directions="pooled").describe()
        'surface: surface elements weighted by area, image edge counted; hd95: both directions pooled'

    Source: Nikolov et al., JMIR 2021 (surfels); Reinke et al., Nature Methods 2024 (pitfalls).
    """

    surface: Element = "voxel"
    edge: Edge = "count"
    directions: Directions = "directed_max"

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) not in _CHOICES[field.name]:
                allowed = " or ".join(map(repr, _CHOICES[field.name]))
                raise ConfigError(f"expected {field.name} {allowed}, got {value!r}")

    @property
    def short(self) -> str:
        """The three choices in one line, as rows carry them."""
        return f"{self.surface} {self.edge} {self.directions}"

    @classmethod
    def from_short(cls, text: str) -> SurfaceConvention:
        """The convention that ``short`` wrote.

        Raises:
            ConfigError: The text is none.

        Example:
            >>> SurfaceConvention.from_short("surfel count pooled").directions
            'pooled'
        """
        words = text.split()
        if len(words) != len(_CHOICES):
            raise ConfigError(f"expected a convention like 'voxel count directed_max', got {text!r}")
        return cls(*words)  # type: ignore[arg-type]

    def describe(self) -> str:
        """In words, as tables and files print it."""
        return f"surface: {_WORDS[self.surface]}, {_WORDS[self.edge]}; hd95: {_WORDS[self.directions]}"


CONVENTION = SurfaceConvention().describe()
"""How the distances of a ``SegmentationTable`` are measured; printed above every table."""
