"""A turned volume against scipy's own rotation, and what must hold for any angle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medconv.io.geometry import geometry_from_affine
from medconv.study.rotation import Rotation
from medconv.types import Geometry


def grid(shape: tuple[int, ...], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Geometry:
    return geometry_from_affine(np.diag([*spacing, 1.0]))


def turn(
    array: np.ndarray, angle: float, plane: tuple[int, int] = (0, 1), **grid_options: object
) -> Rotation:
    return Rotation(array.shape, grid(array.shape, **grid_options), plane, angle)  # type: ignore[arg-type]


def smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return ndimage.gaussian_filter(rng.normal(size=shape), 1.5).astype(np.float32)


@pytest.mark.parametrize("plane", [(0, 1), (1, 2), (2, 0)])
@pytest.mark.parametrize("order", [1, 3])
def test_grey_values_turn_as_in_scipy(rng: np.random.Generator, plane: tuple[int, int], order: int) -> None:
    """Wherever both choose the same grid: scipy rounds its size, here it holds all of the image."""
    compared = 0
    for angle in (15.0, 30.0, 60.0, -75.0, 140.0):
        for side in (15, 16, 17, 18):
            shape = [3, 3, 3]
            shape[plane[0]], shape[plane[1]] = side, side - 3
            image = smooth(rng, tuple(shape))
            rotation = turn(image, angle, plane)
            turned = rotation.image(image[None], order, "minimum")[0]
            options = {"order": order, "mode": "constant", "cval": float(image.min())}
            # scipy turns from the lower axis towards the higher one, however they are named
            oracle = ndimage.rotate(image, angle if plane[0] < plane[1] else -angle, plane, **options)
            if turned.shape == oracle.shape:
                inside = ndimage.binary_erosion(rotation.inside(), iterations=1)
                clipped = np.clip(oracle, image.min(), image.max())
                np.testing.assert_allclose(turned[inside], clipped[inside], atol=2e-5)
                compared += 1
    assert compared >= 3


@pytest.mark.parametrize("quarters", [-1, 1, 2, 3, 4])
def test_quarter_turns_permute_voxels_and_their_edge_lengths(rng: np.random.Generator, quarters: int) -> None:
    image = rng.normal(size=(2, 5, 6, 7)).astype(np.float32)
    labels = rng.integers(0, 9, (5, 6, 7))
    rotation = Rotation((5, 6, 7), grid((5, 6, 7), (1.0, 2.0, 3.0)), (2, 0), 90.0 * quarters)
    assert rotation.is_exact
    assert np.array_equal(rotation.image(image), np.rot90(image, quarters, (3, 1)))
    assert np.array_equal(rotation.labels(labels), np.rot90(labels, quarters, (2, 0)))
    assert np.array_equal(rotation.undo_labels(rotation.labels(labels)), labels)
    assert rotation.inside().all()
    crosswise = quarters % 2
    assert rotation.new_geometry.spacing_mm == ((3.0, 2.0, 1.0) if crosswise else (1.0, 2.0, 3.0))
    assert rotation.new_shape == rotation.labels(labels).shape


def test_nothing_of_the_image_is_cut_off_and_the_centre_stays(rng: np.random.Generator) -> None:
    geometry = geometry_from_affine(
        np.array([[-0.5, 0, 0, 3], [0, 0.5, 0, -7], [0, 0, 2.0, 11], [0, 0, 0, 1]])
    )
    labels = np.ones((20, 30, 4), np.uint8)
    rotation = Rotation(labels.shape, geometry, (1, 0), 33.0)
    turned = rotation.labels(labels)
    assert turned.shape == rotation.new_shape == (34, 37, 4)
    # every voxel has its place: as much lies in the image as before, up to the staircase of its border
    assert abs(int(turned.sum()) - labels.sum()) < 0.02 * labels.sum()
    assert np.array_equal(turned.astype(bool), rotation.inside())
    middle = [(np.array(shape) - 1) / 2 for shape in (labels.shape, turned.shape)]
    centres = [
        g.affine[:3, :3] @ m + g.affine[:3, 3]
        for g, m in zip((geometry, rotation.new_geometry), middle, strict=True)
    ]
    np.testing.assert_allclose(*centres, atol=1e-12)
    assert rotation.new_geometry.orientation == geometry.orientation


def test_a_disc_stays_a_disc_where_pixels_are_no_squares() -> None:
    """In mm: an ellipse of voxels is a disc, and a turned disc is the same disc, on the finer grid."""
    spacing = (1.0, 3.0, 1.0)
    x, y, _ = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * s for n, s in zip((48, 16, 1), spacing, strict=True)],
                          indexing="ij")  # fmt: skip
    disc = (np.hypot(x, y) < 15).astype(np.uint8)
    rotation = Rotation(disc.shape, grid(disc.shape, spacing), (0, 1), 40.0)
    assert rotation.new.spacing == (1.0, 1.0)
    turned = rotation.labels(disc)
    assert turned.sum() == pytest.approx(disc.sum() * 3, rel=0.03)
    u, v, _ = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in turned.shape], indexing="ij")
    away = np.hypot(u, v)[turned > 0]
    assert away.max() < 17


def naive_largest_share(labels: np.ndarray, rotation: Rotation) -> np.ndarray:
    """One bilinear map a label by scipy, and the largest: what ``labels`` does without a map a label."""
    c, s = np.cos(np.radians(rotation.angle_deg)), np.sin(np.radians(rotation.angle_deg))
    back = np.array([[c, s], [-s, c]])
    offset = (np.array(labels.shape[:2]) - 1) / 2 - back @ ((np.array(rotation.new_shape[:2]) - 1) / 2)
    values = np.unique(labels)
    shares = [
        ndimage.affine_transform(
            (labels[..., 0] == value).astype(float),
            back,
            offset,
            rotation.new_shape[:2],
            order=1,
            mode="nearest",
        )
        for value in values
    ]
    return values[np.argmax(shares, axis=0)]


def test_labels_take_the_largest_bilinear_share(rng: np.random.Generator) -> None:
    labels = (ndimage.gaussian_filter(rng.normal(size=(25, 25, 1)), (2, 2, 0)) * 40).astype(int) % 6
    labels[3:9, 4:12] = 70_000  # more than 16 bits hold: nothing of the number is lost
    rotation = turn(labels, 27.0)
    turned, oracle = rotation.labels(labels)[..., 0], naive_largest_share(labels, rotation)
    inside = rotation.inside()[..., 0]
    assert (turned[inside] == oracle[inside]).mean() > 0.999  # where two shares are equal either may stand
    assert (turned[~inside] == 0).all()
    assert set(np.unique(turned)) <= {0, *np.unique(labels)}


@pytest.mark.parametrize("angle", [15.0, 45.0, -60.0])
def test_there_and_back_loses_only_the_border(angle: float) -> None:
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (40, 36, 8)], indexing="ij")
    ball = ((x / 0.6) ** 2 + (y / 0.5) ** 2 + (z / 0.9) ** 2 < 1).astype(np.uint8)
    rotation = turn(ball, angle, (1, 0))
    back = rotation.undo_labels(rotation.labels(ball))
    assert back.shape == ball.shape
    dice = 2 * (back & ball).sum() / (back.sum() + ball.sum())
    assert 0.97 < dice <= 1


def test_around_a_turned_image_lies_what_is_asked_for(rng: np.random.Generator) -> None:
    image = smooth(rng, (1, 16, 16, 1)) + 5
    rotation = turn(image[0], 45.0)
    outside = ~rotation.inside()
    reflected, edge, least = (rotation.image(image, 1, o)[0][outside] for o in ("reflect", "edge", "minimum"))  # type: ignore[arg-type]
    assert least.max() < image.max()
    assert (least == image.min()).mean() > 0.9
    assert reflected.std() > 0.5 * image.std()
    assert not np.array_equal(reflected, edge)


def test_values_stay_in_the_range_of_their_channel() -> None:
    step = np.zeros((2, 20, 20, 1), np.float32)
    step[0, 8:12, 8:12] = 100
    step[1] = -1000
    turned = turn(step[0], 30.0).image(step, 3)
    assert turned[0].min() >= 0
    assert turned[0].max() <= 100
    assert (turned[1] == -1000).all()
