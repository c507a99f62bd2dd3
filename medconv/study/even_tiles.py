"""Whether the tiles and margins around a volume turn with it, so that what is left of a difference is the network's."""

from __future__ import annotations

from medconv.inference import Predictor
from medconv.inference.tiles import tile_starts
from medconv.io import Volume
from medconv.io.geometry import turning

_SAME_SPACING = 1e-3


def do_tiles_turn(predictor: Predictor, volume: Volume, plane: tuple[int, int], quarters: int) -> bool:
    """Whether a quarter-turn maps the tiles of a volume onto the tiles of the turned one.

    A patch that is no square in the plane does not, a volume smaller than the patch by an odd number of voxels
    (it cannot lie in its middle), and tiles that cannot be spread evenly.

    Args:
        predictor: Of the network.
        volume: Upright.
        plane: Array axes that turn.
        quarters: How many quarter-turns.

    Example:
        >>> import numpy as np
        >>> from torch import nn
        >>> from medconv.io import volume_from_array
        >>> from medconv.planning import Plan
        >>> plan = Plan(3, ("CT",), {0: "background", 1: "bone"}, (1.0, 1.0, 1.0), (8, 8, 4), ("none",))
        >>> predictor = Predictor([nn.Identity()], [plan], device="cpu")
        >>> sizes = [(6, 16, 4), (7, 16, 4)]
        >>> volumes = [volume_from_array(np.zeros(size), (1.0, 1.0, 1.0)) for size in sizes]
        >>> [do_tiles_turn(predictor, volume, (0, 1), 1) for volume in volumes]
        [True, False]
        >>> do_tiles_turn(predictor, volumes[0], (0, 2), 1), do_tiles_turn(predictor, volumes[0], (0, 2), 2)
        (False, True)
    """
    plan = predictor.plan
    record = predictor.engine.preprocessor.record(volume)
    sources, _ = turning(volume.geometry.orientation, plan.orientation)
    axes = [axis for axis, source in enumerate(sources) if source in plane and axis < plan.spatial_dims]
    for member in predictor.engine.members:
        patch = [member.patch_size[axis] for axis in axes]
        if not all(
            _is_even(record.work_shape[axis], size, predictor.overlap)
            for axis, size in zip(axes, patch, strict=True)
        ):
            return False
        spacings = [record.work_geometry.spacing_mm[axis] for axis in axes]
        is_square = len(set(patch)) == 1 and max(spacings) / min(spacings) - 1 < _SAME_SPACING
        if quarters % 2 and not is_square:
            return False
    return True


def _is_even(size: int, patch: int, overlap: float) -> bool:
    """Whether tiles along an axis lie alike from both ends."""
    if size < patch:
        return (patch - size) % 2 == 0
    starts = tile_starts(size, patch, overlap)
    return starts == [size - patch - start for start in reversed(starts)]
