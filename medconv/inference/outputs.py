"""Where each mask goes: never over an input, never two masks into one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medconv.errors import ConfigError
from medconv.inference.inputs import InputCase
from medconv.io import stem_of, suffix_of
from medconv.io.microscopy.formats import in_zarr, is_microscopy
from medconv.io.writers import MASK_SUFFIXES


def plan_outputs(cases: Sequence[InputCase], output: str | Path) -> list[Path]:
    """The file for the mask of each case.

    Args:
        cases: The inputs.
        output: The file of a mask (``.nii.gz``, ``.tif``, ``.png`` …) for a single case; otherwise a folder, where
            each mask is called like its input.

    Raises:
        ConfigError: One file for several cases, a file of another type, two cases with the same name, or a
            mask that would replace an input.
    """
    output = Path(output)
    if is_mask_file(output):
        if len(cases) != 1:
            raise ConfigError(f"expected a folder for the masks of {len(cases)} cases, got the file {output}")
        targets = [output]
    else:
        if output.is_file():
            raise ConfigError(
                f"expected a folder, or a file ending in {', '.join(MASK_SUFFIXES)}; {output} is another file"
            )
        if (suffix := suffix_of(output)) and not output.is_dir():
            raise ConfigError(
                f"expected -o to be a folder or to end in {', '.join(MASK_SUFFIXES)}, got {suffix}"
            )
        targets = [output / f"{case.case_id}{case.suffix}" for case in cases]
    _refuse_same_name(cases, targets)
    _refuse_inputs(cases, targets)
    return targets


def is_mask_file(output: str | Path) -> bool:
    """Whether an output is the file for one mask, and not a folder for many.

    Example:
        >>> is_mask_file("mask.nii.gz"), is_mask_file("cells.tif"), is_mask_file("masks")
        (True, True, False)
    """
    output = Path(output)
    return in_zarr(output) or (output.name.lower().endswith(MASK_SUFFIXES) and not output.is_dir())


def is_made(output: str | Path) -> bool:
    """Whether a mask or what lies beside it is there, and so whole: a file, or a folder where that is OME-Zarr."""
    output = Path(output)
    return output.is_dir() if in_zarr(output) else output.is_file()


def _refuse_same_name(cases: Sequence[InputCase], targets: Sequence[Path]) -> None:
    seen: dict[str, InputCase] = {}
    for case, target in zip(cases, targets, strict=True):
        # a.nii and a.nii.gz would share companions and a row; some file systems take a and A for the same
        other = seen.setdefault(case.case_id.casefold(), case)
        if other is not case:
            raise ConfigError(
                f"{other.paths[0]} and {case.paths[0]} would both be written to {target}; "
                "rename one, or predict them into different folders"
                if other.case_id + other.suffix == target.name
                else f"{other.paths[0]} and {case.paths[0]} are two cases called {case.case_id}; "
                "rename one, or predict them into different folders"
            )


def _refuse_inputs(cases: Sequence[InputCase], targets: Sequence[Path]) -> None:
    inputs = {path.resolve() for case in cases for path in case.paths}
    named = {(path.parent, stem_of(path).casefold()) for path in inputs if is_microscopy(path)}
    for target in targets:
        resolved = target.resolve()
        if resolved in inputs:
            raise ConfigError(f"the mask {target} would replace an input; choose another --output")
        if (resolved.parent, stem_of(target).casefold()) in named:
            raise ConfigError(
                f"the mask {target} would lie beside the image that it is called like, and be taken for one; choose "
                f"another --output"
            )
        if resolved.parent in inputs:
            raise ConfigError(
                f"the mask {target} would lie among the slices of an input; choose another --output"
            )
