"""What is written beside a mask: a file a class, probabilities, uncertainty."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from medconv.errors import MedconvError
from medconv.inference.prediction import Prediction
from medconv.inference.uncertainty import entropy_map
from medconv.io import mask_suffix_for, stem_of, write_labels, write_shares


class Companion(Protocol):
    """Writes files beside a mask; a case is done when they exist too."""

    needs_probabilities: ClassVar[bool]

    def files(self, mask: Path) -> tuple[Path, ...]:
        """What :meth:`write` will have made."""

    def write(self, prediction: Prediction, mask: Path) -> None:
        """Make the files, each whole or not at all."""


@dataclass(frozen=True)
class Place:
    """Where a companion lies.

    Args:
        is_alone: Whether the user named the file of the one mask: then the companion lies beside it as
            ``MASK_kind``, else in the folder ``kind`` beside the masks, which stays a folder of masks.
    """

    is_alone: bool

    def of(self, mask: Path, kind: str, suffix: str) -> Path:
        """The file of one kind that belongs to a mask.

        Example:
            >>> Place(is_alone=False).of(Path("out/a.nii.gz"), "entropy", ".nii.gz").as_posix()
            'out/entropy/a.nii.gz'
            >>> Place(is_alone=True).of(Path("out/a.nii.gz"), "preview", ".png").as_posix()
            'out/a_preview.png'
        """
        stem = stem_of(mask)
        return (
            mask.with_name(f"{stem}_{kind}{suffix}")
            if self.is_alone
            else mask.parent / kind / f"{stem}{suffix}"
        )


@dataclass(frozen=True)
class PerClass:
    """A binary mask for each label, called after it, in a folder a case."""

    place: Place
    label_names: Mapping[int, str]
    needs_probabilities: ClassVar[bool] = False

    def files(self, mask: Path) -> tuple[Path, ...]:
        """One a label, the background left out."""
        folder = self.place.of(mask, "per_class", "")
        return tuple(folder / f"{name}{_suffix(mask)}" for name in file_names(self.label_names).values())

    def write(self, prediction: Prediction, mask: Path) -> None:
        """Also empty ones, so that nobody takes an absent structure for a missing file."""
        labels = prediction.class_labels.reshape(prediction.volume.shape)
        for value, path in zip(file_names(self.label_names), self.files(mask), strict=True):
            names = {0: "background", 1: self.label_names[value]}
            write_labels(path, (labels == value).view("uint8"), prediction.volume, names)


@dataclass(frozen=True)
class Probabilities:
    """The probability of every class, background included, as channels."""

    place: Place
    needs_probabilities: ClassVar[bool] = True

    def files(self, mask: Path) -> tuple[Path, ...]:
        """One."""
        return (self.place.of(mask, "probabilities", _suffix(mask)),)

    def write(self, prediction: Prediction, mask: Path) -> None:
        """16 bits a voxel and class."""
        kept = _kept(prediction)
        write_shares(
            self.files(mask)[0], kept.reshape(len(kept), *prediction.volume.shape), prediction.volume
        )


@dataclass(frozen=True)
class Entropy:
    """The entropy of the probabilities of classes or regions: 0 certain, 1 undecided."""

    place: Place
    needs_probabilities: ClassVar[bool] = True

    def files(self, mask: Path) -> tuple[Path, ...]:
        """One."""
        return (self.place.of(mask, "entropy", _suffix(mask)),)

    def write(self, prediction: Prediction, mask: Path) -> None:
        """16 bits a voxel."""
        entropy = entropy_map(_kept(prediction), prediction.regions_class_order)
        write_shares(self.files(mask)[0], entropy.reshape(prediction.volume.shape), prediction.volume)


def file_names(label_names: Mapping[int, str]) -> dict[int, str]:
    """Names of labels as names of files, each once; the background left out.

    Example:
        >>> file_names({0: "background", 1: "left lung", 2: "left/lung", 3: "heart"})
        {1: 'left_lung_1', 2: 'left_lung_2', 3: 'heart'}
    """
    plain = {
        value: re.sub(r"[^\w.-]+", "_", name).strip("._") for value, name in label_names.items() if value
    }
    plain = {value: name or "label" for value, name in plain.items()}
    # file systems may not tell capitals apart
    times = Counter(name.casefold() for name in plain.values())
    taken = {name for name, count in times.items() if count == 1}
    return {
        value: _free_name(name, value, taken) if times[name.casefold()] > 1 else name
        for value, name in plain.items()
    }


def _free_name(name: str, value: int, taken: set[str]) -> str:
    """The name with its label, numbered on until nothing else is called so; it is taken then."""
    numbered = f"{name}_{value}"
    while numbered.casefold() in taken:
        numbered += f"_{value}"
    taken.add(numbered.casefold())
    return numbered


def _suffix(mask: Path) -> str:
    """TIFF beside masks of microscopy images, whatever those are."""
    return suffix if (suffix := mask_suffix_for(mask)) != ".zarr" else ".tif"


def _kept(prediction: Prediction) -> npt.NDArray[np.floating]:
    if prediction.probabilities is None:
        raise MedconvError(
            "expected a prediction with probabilities, got one without; predict(…, probabilities=True)"
        )
    return prediction.probabilities
