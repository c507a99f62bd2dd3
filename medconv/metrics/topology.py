"""Whether a prediction hangs together as the truth does: pieces, loops, cavities, centre lines."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
import scipy

from medconv.errors import ConfigError, ShapeError
from medconv.metrics.detection import divide
from medconv.metrics.grid import as_label_maps, crop_to_foreground
from medconv.metrics.skeleton import Mask, skeletonise

Neighbours = Literal["corner", "face"]


@dataclass(frozen=True)
class BettiNumbers:
    """How a mask hangs together.

    Args:
        pieces: Connected components (b0).
        loops: Tunnels of a 3-D mask, holes of a 2-D one (b1).
        cavities: Closed hollows of a 3-D mask (b2); 0 in 2-D.
    """

    pieces: int
    loops: int
    cavities: int

    def error(self, other: BettiNumbers) -> int:
        """Sum of the differences of the three numbers.

        Example:
            >>> BettiNumbers(3, 0, 0).error(BettiNumbers(1, 1, 0))
            3
        """
        return (
            abs(self.pieces - other.pieces)
            + abs(self.loops - other.loops)
            + abs(self.cavities - other.cavities)
        )


def betti_numbers(mask: Any, neighbours: Neighbours = "corner") -> BettiNumbers:
    """Pieces, loops and cavities of a mask.

    Loops follow from the Euler characteristic, ``pieces - loops + cavities``, which is counted cell by cell.

    Args:
        mask: ``(*S)`` with 2 or 3 axes; every voxel other than 0 is inside.
        neighbours: Voxels inside hang together by a ``"corner"`` (8 in 2-D, 26 in 3-D) and outside by a face
            (4, 6), or inside by a ``"face"`` and outside by a corner. The pair must be unlike, or a closed
            curve would not part inside from outside.

    Raises:
        ShapeError: Another number of axes, or floats.
        ConfigError: Unknown ``neighbours``.

    Example:
        >>> ring = np.ones((3, 3), bool)
        >>> ring[1, 1] = False
        >>> betti_numbers(ring)
        BettiNumbers(pieces=1, loops=1, cavities=0)
        >>> betti_numbers(np.eye(2, dtype=bool)).pieces, betti_numbers(np.eye(2, dtype=bool), "face").pieces
        (1, 2)
    """
    if neighbours not in get_args(Neighbours):
        raise ConfigError(f"expected neighbours 'corner' or 'face', got {neighbours!r}")
    inside = _as_mask(mask)
    ndim = inside.ndim
    reach = {"corner": (ndim, 1), "face": (1, ndim)}[neighbours]
    pieces = _count_pieces(inside, reach[0])
    hollows = _count_pieces(~inside, reach[1]) - 1
    euler = _euler_of_corners(inside) if neighbours == "corner" else _euler_of_faces(inside)
    if ndim == 2:
        return BettiNumbers(pieces, pieces - euler, 0)
    return BettiNumbers(pieces, pieces + hollows - euler, hollows)


def betti_error(pred_mask: Any, ref_mask: Any, neighbours: Neighbours = "corner") -> int:
    """Differences of pieces, loops and cavities added up; 0 where both masks hang together alike.

    It asks how many there are, not where: a missed piece and an invented one cancel out. Read it beside an
    overlap.

    Raises:
        ShapeError: The masks differ in shape, or see ``betti_numbers``.
        ConfigError: Unknown ``neighbours``.

    Example:
        >>> line = np.array([[1, 1, 1, 1, 1]])
        >>> betti_error(np.array([[1, 1, 0, 1, 1]]), line)
        1

    Source: Hu et al., "Topology-preserving deep image segmentation", NeurIPS 2019.
    """
    pred, ref = as_label_maps(pred_mask, ref_mask)
    return betti_numbers(pred, neighbours).error(betti_numbers(ref, neighbours))


def cl_dice(pred_mask: Any, ref_mask: Any) -> float:
    r"""Centre-line Dice: whether tubes are found along their whole length, however thick they are drawn.

    .. math:: clDice = 2 \frac{T_{prec} T_{sens}}{T_{prec} + T_{sens}}, \quad
        T_{prec} = \frac{|S_P \cap R|}{|S_P|}, \quad T_{sens} = \frac{|S_R \cap P|}{|S_R|}

    Use it for vessels, airways and neurites; for compact organs a centre line says little.

    Args:
        pred_mask: ``(*S)`` with 2 or 3 axes; every voxel other than 0 is inside.
        ref_mask: The same on the same grid.

    Returns:
        0 to 1; nan if both masks are empty, 0 if only one is.

    Raises:
        ShapeError: The masks differ in shape, or have another number of axes, or are floats.

    Cost:
        Two skeletons; see ``skeletonise``.

    Example:
        >>> ref = np.zeros((7, 20), bool)
        >>> ref[2:5, 2:18] = True
        >>> half = ref.copy()
        >>> half[:, 10:] = False
        >>> cl_dice(ref, ref), round(cl_dice(half, ref), 2)
        (1.0, 0.7)

    Source: Shit et al., "clDice", CVPR 2021.
    """
    pred, ref = as_label_maps(pred_mask, ref_mask)
    pred, ref = crop_to_foreground(pred, ref)
    if pred.size == 0:
        return float("nan")
    lines = [skeletonise(m) for m in (pred, ref)]
    precision = divide((lines[0] & (ref != 0)).sum(), lines[0].sum())
    sensitivity = divide((lines[1] & (pred != 0)).sum(), lines[1].sum())
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity > 0 else 0.0


def _as_mask(mask: Any) -> Mask:
    given = np.asarray(mask)
    if given.ndim not in (2, 3) or given.dtype.kind not in "biu":
        raise ShapeError(
            f"expected an integer or boolean mask with 2 or 3 axes, got {given.shape} of {given.dtype}"
        )
    return np.pad(given != 0, 1)


def _count_pieces(mask: Mask, reach: int) -> int:
    return int(scipy.ndimage.label(mask, scipy.ndimage.generate_binary_structure(mask.ndim, reach))[1])


def _euler_of_corners(mask: Mask) -> int:
    """Of voxels that are closed cubes: corners minus edges plus faces minus cubes.

    A cell of the grid belongs to the mask if any voxel around it does. It is spanned by the axes along which it
    has the extent of a voxel; along the others it lies between two.
    """
    return sum((-1) ** sum(spans) * _count_cells(mask, spans, np.logical_or) for spans in _cells(mask.ndim))


def _euler_of_faces(mask: Mask) -> int:
    """Of voxels that are points, joined by edges, squares and cubes wherever all their corners are inside."""
    ndim = mask.ndim
    return sum(
        (-1) ** (ndim - sum(spans)) * _count_cells(mask, spans, np.logical_and) for spans in _cells(ndim)
    )


def _cells(ndim: int) -> list[tuple[int, ...]]:
    return list(product((0, 1), repeat=ndim))


def _count_cells(mask: Mask, spans: tuple[int, ...], join: np.ufunc) -> int:
    for axis in (a for a, span in enumerate(spans) if not span):
        low, high = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        mask = join(mask[low], mask[high])
    return int(np.count_nonzero(mask))
