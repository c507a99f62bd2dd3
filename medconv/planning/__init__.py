"""Decisions that data make: at which spacing to work, how large a patch is, how intensities are scaled.

``fingerprint`` reads what the decisions rest on, ``rules`` are pure functions from numbers to a decision, and
a ``Plan`` is the outcome: frozen, checked, the same as YAML, as plain values in a checkpoint, and in Python.
"""

from medconv.planning.fingerprint import Fingerprint, read_headers, read_intensities
from medconv.planning.intensity import Intensity
from medconv.planning.mirroring import mirror_axes
from medconv.planning.plan import NORMALIZATIONS, Plan
from medconv.planning.propose import propose_plan
from medconv.planning.rules import (
    default_patch,
    median_shape,
    median_spacing,
    normalization_for,
    poolings_per_axis,
)

__all__ = [
    "NORMALIZATIONS",
    "Fingerprint",
    "Intensity",
    "Plan",
    "default_patch",
    "median_shape",
    "median_spacing",
    "mirror_axes",
    "normalization_for",
    "poolings_per_axis",
    "propose_plan",
    "read_headers",
    "read_intensities",
]
