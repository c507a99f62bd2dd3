from __future__ import annotations

import numpy as np
import pytest

from medconv.errors import ConfigError
from medconv.io.geometry import geometry_from_affine, reorient
from medconv.study.body_axes import axis_name, turning_plane
from medconv.study.rotation import Rotation


@pytest.mark.parametrize("axis", ["R", "A", "S"])
@pytest.mark.parametrize("stored", ["LPS", "ASR", "IRP", "RAS"])
@pytest.mark.parametrize("angle", [90.0, 35.0])
def test_however_a_volume_is_stored_the_patient_turns_alike(
    rng: np.random.Generator, axis: str, stored: str, angle: float
) -> None:
    ras = rng.normal(size=(1, 6, 7, 8)).astype(np.float32)
    geometry = geometry_from_affine(np.diag([1.0, 1.0, 1.0, 1.0]))
    data, turned_geometry = reorient(ras, geometry, stored)

    def turned(volume: np.ndarray, where: object) -> np.ndarray:
        plane = turning_plane(axis, where, volume.shape[1:], "a")  # type: ignore[arg-type]
        rotation = Rotation(volume.shape[1:], where, plane, angle)  # type: ignore[arg-type]
        return reorient(rotation.image(volume), rotation.new_geometry, "RAS")[0]

    np.testing.assert_allclose(turned(ras, geometry), turned(data, turned_geometry), atol=1e-5)


@pytest.mark.parametrize(
    ("axis", "start", "end"),
    [("S", (1, 0, 0), (0, 1, 0)), ("A", (0, 0, 1), (1, 0, 0)), ("R", (0, 1, 0), (0, 0, 1))],
)
def test_positive_angles_follow_the_right_hand(
    axis: str, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    """About S what lies on the right comes to lie in front."""
    volume = np.zeros((3, 3, 3), np.uint8)
    volume[tuple(np.array(start) + 1)] = 1
    geometry = geometry_from_affine(np.eye(4))
    rotation = Rotation(volume.shape, geometry, turning_plane(axis, geometry, volume.shape, "a"), 90.0)
    assert np.argwhere(rotation.labels(volume)).tolist() == [(np.array(end) + 1).tolist()]


def test_wrong_axes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected an axis R, A or S .* or 0, 1 or 2 .*, got 'x'"):
        axis_name("x")
    geometry = geometry_from_affine(np.eye(4))
    with pytest.raises(
        ConfigError, match=r"scan: a slice of 8 × 9 × 1 voxels has no plane .* about 0; turn it about 2"
    ):
        turning_plane("0", geometry, (8, 9, 1), "scan")
