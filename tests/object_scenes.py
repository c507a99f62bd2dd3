"""Drawn objects with exact answers: discs and ellipses that stand alone, touch, form clusters or leave the image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def ellipsoids(
    rng: np.random.Generator, shape: tuple[int, ...], count: int, radii: tuple[float, float]
) -> np.ndarray:
    """Numbered ellipsoids of random pose; later ones lie behind earlier ones, so many touch.

    Of each at least two thirds of what lies in the image are seen, in one piece.
    """
    objects = np.zeros(shape, np.int32)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    for number in range(1, count + 1):
        centre = rng.uniform(0, shape)
        turn, _ = np.linalg.qr(rng.normal(size=(len(shape), len(shape))))
        half_axes = rng.uniform(*radii) * rng.uniform(0.7, 1.0, len(shape))
        inside = (((grid - centre) @ turn / half_axes) ** 2).sum(axis=-1) <= 1
        pieces, count = ndimage.label(inside & (objects == 0))
        if count == 1 and (pieces > 0).sum() >= max(12, inside.sum() * 2 / 3):
            objects[pieces > 0] = number
    return objects


def is_renumbered(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two maps are the same but for the numbers of their objects."""
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return (
        first.shape == second.shape
        and len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
        and bool(((pairs[0] == 0) == (pairs[1] == 0)).all())
    )
