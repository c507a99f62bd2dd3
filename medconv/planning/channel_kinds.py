"""How a channel is scaled, judged by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_WORDS = {
    "ct": ("ct", "cta", "cect", "cbct"),
    "none": ("nonorm",),
    "range": (
        *("fluorescence", "fluorescent", "confocal", "widefield", "lightsheet"),
        *("dapi", "hoechst", "gfp", "egfp", "yfp", "rfp", "mcherry", "cy3", "cy5", "fitc", "tritc", "actin"),
        *("nuclei", "nucleus"),
    ),
    "percentile": (
        *("brightfield", "histology", "histopathology", "phase", "dic"),
        *("em", "tem", "sem", "sstem", "sbem", "fibsem", "electron"),
        *("membrane", "rgb", "red", "green", "blue", "he", "ihc"),
    ),
    "zscore": (
        *("mri", "mr", "t1", "t1w", "t2", "t2w", "flair", "t1gd", "t1ce", "t1c", "t1n", "t2f", "pd", "pdw"),
        *("adc", "dwi", "swi", "asl", "dce", "bssfp", "cine", "lge", "mra", "mprage", "tof"),
        *("pet", "suv", "spect", "us", "ultrasound", "oct", "xray", "mammography"),
    ),
}
_MEANING = {
    "ct": "CT: clipped and scaled by the foreground of all cases, so that a Hounsfield unit stays one",
    "none": "the name asks for no normalisation",
    "range": "bright objects on a background: from its own 0.5th to its 99.9th percentile, so that contrast does not "
    "depend on how much of the image they cover",
    "percentile": "microscopy: clipped to its own 0.5th and 99.5th percentile against bright specks, then z-scored",
    "zscore": "arbitrary units that differ from scan to scan: z-scored image by image",
}


@dataclass(frozen=True)
class ChannelKind:
    """A normalisation and why.

    Args:
        normalization: One of ``medconv.planning.NORMALIZATIONS``.
        reason: For people.
        is_known: Whether the name said what the channel is.
    """

    normalization: str
    reason: str
    is_known: bool = True


def kind_of_channel(name: str, *, is_microscopy: bool = False, has_objects: bool = False) -> ChannelKind:
    """CT by absolute values, objects on a background by their range, microscopy by percentiles, all else by itself.

    Args:
        name: As the dataset calls the channel; whole words count, upper or lower case.
        is_microscopy: Whether its files are microscopy; that decides where the name says nothing.
        has_objects: Whether label maps number objects, which decides between both ways for microscopy.

    Example:
        >>> [kind_of_channel(name).normalization for name in ("CT", "T1w MRI", "DAPI", "noNorm")]
        ['ct', 'zscore', 'range', 'none']
        >>> kind_of_channel("image").is_known
        False
    """
    words = set(re.findall(r"[a-z]+\d*[a-z]*", name.lower()))
    for kind, known in _WORDS.items():
        if words & set(known):
            return ChannelKind(kind, _MEANING[kind])
    if is_microscopy or "microscopy" in words:
        kind = "range" if has_objects else "percentile"
        return ChannelKind(kind, _MEANING[kind])
    reason = f"{name!r} names no known kind (CT, MRI, microscopy …): z-scored image by image, as nnU-Net does"
    return ChannelKind("zscore", reason, is_known=False)


def guessed_channels(names: Iterable[str], normalization: Iterable[str]) -> list[str]:
    """Why channels whose names say nothing are scaled as they are, one sentence each; where the files decided, none.

    Args:
        names: Of the channels.
        normalization: Planned, one a channel.

    Example:
        >>> guessed_channels(["image", "DAPI"], ["percentile", "range"])
        []
    """
    kinds = [(kind_of_channel(name), planned) for name, planned in zip(names, normalization, strict=True)]
    return [kind.reason for kind, planned in kinds if not kind.is_known and planned == kind.normalization]
