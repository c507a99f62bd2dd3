"""Why a plan is as it is, in sentences: pure functions of the numbers that decided."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from medconv.io.geometry import NATIVE
from medconv.lengths import edges_text
from medconv.planning.instance_target import InstanceTarget
from medconv.planning.lower_resolution import ENOUGH, coverage
from medconv.planning.sizes import MIN_BATCH, Sizes
from medconv.types import LengthUnit

GIVEN = "given by the user"


def why_spacing(
    spacings_mm: Sequence[Sequence[float]],
    target_mm: Sequence[float],
    median_mm: Sequence[float],
    unit: LengthUnit = "mm",
) -> str:
    """Of the target spacing."""
    if len(set(map(tuple, spacings_mm))) == 1:
        return f"all {len(spacings_mm)} cases have it"
    if any(abs(a - b) > 1e-4 * b for a, b in zip(target_mm, median_mm, strict=True)):
        return (
            f"median of {len(spacings_mm)} cases ({edges_text(median_mm, unit)}), but along the coarse axis with few "
            "slices the 10th percentile, so that thin slices are not blurred"
        )
    return f"median of {len(spacings_mm)} cases along each axis"


def why_low_spacing(full_mm: Sequence[float], unit: LengthUnit = "mm") -> str:
    """Of the spacing of a low-resolution plan."""
    start = edges_text(full_mm, unit)
    return f"from {start} coarsened by 3 % at a time until a patch sees {ENOUGH:.0%} of the median case"


def why_dims(spatial_dims: int) -> str:
    """Of two or three axes."""
    return "every case is a single slice" if spatial_dims == 2 else "there are cases of more than one slice"


def why_instances(target: InstanceTarget) -> str:
    """Of labels that are made from numbered objects."""
    what = "shells by relative distance to its rim" if target.kind == "distance" else "inside and rim"
    return (
        f"the dataset numbers objects; the network is taught {what}, from which {target.name}s are told apart"
    )


def why_unit() -> str:
    """Of lengths in pixels."""
    return "no file says how large a pixel is, and nobody stated it (pixel_size_um)"


def why_orientation(orientation: str) -> str:
    """Of the orientation."""
    if orientation == NATIVE:
        return "axes stay as they are stored: slices have no anatomical direction that all share"
    return f"every case is turned to {orientation}, so that an axis of the network is one direction in all patients"


def why_patch(
    sizes: Sizes,
    median_shape: Sequence[int],
    lower_mm: Sequence[float] | None,
    unit: LengthUnit = "mm",
) -> str:
    """Of the patch, with what it sees of a case."""
    seen = f"sees {min(1.0, coverage(sizes, median_shape)):.0%} of the median case, {by(median_shape)} voxels"
    if sizes.patch_size == sizes.initial_patch:
        most = "a square of 2048² pixels" if len(median_shape) == 2 else "a cube of the volume of 256³ voxels"
        text = f"the median case, at most {most}, padded to what {_halvings(sizes)} need; {seen}"
    else:
        text = (
            f"from {by(sizes.initial_patch)} shortened along the axis that covers most of the median case until "
            f"two patches (or the batch that was asked for) fit into memory; {seen}"
        )
    if lower_mm is not None:
        lower = edges_text(lower_mm, unit)
        text += f"; that is less than {ENOUGH:.0%}: nnU-Net would train at {lower} too (--resolution low)"
    larger = [axis for axis, (p, m) in enumerate(zip(sizes.patch_size, median_shape, strict=True)) if p > m]
    if larger:
        text += f"; larger than the median case along axis {', '.join(map(str, larger))}, cases are padded"
    return text


def why_batch(sizes: Sizes, num_cases: int) -> str:
    """Of the batch."""
    room = f"the memory holds {sizes.roomy_batch}"
    if sizes.capped_batch is not None and sizes.batch_size < sizes.roomy_batch:
        return f"{room}, capped so that a batch covers at most 5 % of the voxels of {num_cases} cases (overfitting)"
    if sizes.batch_size < MIN_BATCH:
        return f"{room} patch of the size that was given"
    return f"{room}" if sizes.batch_size > MIN_BATCH else f"the smallest that is stable; {room}"


def why_strides(sizes: Sizes) -> str:
    """Of the stages."""
    coarsest = [p // d for p, d in zip(sizes.patch_size, sizes.stages.divisor, strict=True)]
    return (
        f"{_halvings(sizes)}: an axis is halved while it has 8 voxels or more and its spacing is within a factor of 2 "
        f"of the finest; the coarsest map has {by(coarsest)} voxels"
    )


def why_supervision(outputs: int) -> str:
    """Of deep supervision."""
    if outputs == 1:
        return "fewer than 3 stages: there is no coarser output to supervise"
    return "all outputs of the decoder but the coarsest, weighted 1, 1/2, 1/4 …"


def why_steps(sizes: Sizes, steps: int, num_cases: int) -> str:
    """Of the length."""
    seen = steps * sizes.batch_size / num_cases
    return (
        f"nnU-Net's, whatever the data; each case is seen {seen:,.0f} times. --trainer.max_time shortens it"
    )


def by(numbers: Sequence[float]) -> str:
    """Sizes in one word: ``40×56×40``."""
    return "×".join(f"{number:g}" for number in numbers)


def _halvings(sizes: Sizes) -> str:
    counts = [d.bit_length() - 1 for d in sizes.stages.divisor]
    if len(set(counts)) == 1:
        return f"{counts[0]} halvings" if prod(sizes.stages.divisor) > 1 else "no halving"
    return f"{by(counts)} halvings"
