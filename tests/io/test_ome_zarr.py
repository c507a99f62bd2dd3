"""OME-Zarr images and labels, against zarr itself and the metadata of NGFF 0.4 and 0.5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from medconv.errors import BadImageError, ConfigError
from medconv.io import ImageLayout, read_image, reader_for, write_labels
from medconv.io.microscopy import ome_zarr, read_header, read_labels, read_volume

SCALE = {"t": 1.0, "c": 1.0, "z": 2000.0, "y": 500.0, "x": 250.0}


def save(path: Path, stored: np.ndarray, axes: str, version: str = "0.5", unit: str = "nanometer") -> Path:
    """An image as its writers lay it out, with a second, coarser level."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    for level, pixels in enumerate((stored, stored[..., ::2, ::2])):
        group.create_array(str(level), data=pixels, chunks=(1,) * (stored.ndim - 2) + (3, 4))
    described: list[dict[str, Any]] = [
        {"name": a, "type": "space", "unit": unit} if a in "zyx" and unit else {"name": a} for a in axes
    ]
    scale = [SCALE[a] for a in axes]
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level in (0, 1)
    ]
    multiscales = [{"axes": described, "datasets": datasets}]
    group.attrs.update(
        {"ome": {"version": version, "multiscales": multiscales}}
        if version == "0.5"
        else {"multiscales": multiscales}
    )
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "zyx", "cyx", "tczyx"])
def test_axes_and_sizes_are_what_the_attributes_say(
    tmp_path: Path, rng: np.random.Generator, axes: str, version: str
) -> None:
    sizes = {"t": 1, "c": 3, "z": 4, "y": 5, "x": 6}
    stored = rng.integers(0, 999, [sizes[a] for a in axes]).astype(np.uint16)
    path = save(tmp_path / "a.zarr", stored, axes, version)
    volume = read_volume(path)
    present = "".join(a for a in "cyxz" if a in axes)
    turned = np.einsum(f"{axes}->{present}", stored).reshape([sizes[a] if a in axes else 1 for a in "cyxz"])
    assert np.array_equal(volume.data, turned)
    assert volume.geometry.unit == "mm"
    np.testing.assert_allclose(volume.geometry.spacing_mm, (5e-4, 2.5e-4, 2e-3 if "z" in axes else 1.0))
    header = read_header(path)
    assert (header.channels, header.shape) == (volume.channels, volume.shape)


def test_only_chosen_channels_are_read(tmp_path: Path, rng: np.random.Generator) -> None:
    stored = rng.integers(0, 999, (3, 5, 6)).astype(np.uint16)
    path = save(tmp_path / "a.ome.zarr", stored, "cyx")
    for broken in (path / "0" / "c" / "1").rglob("*"):
        if broken.is_file():
            broken.write_bytes(b"damaged")
    volume = read_image([path], channels=2, layout=ImageLayout(channels=(2, 0)))
    assert np.array_equal(volume.data[..., 0], stored[[2, 0]])
    with pytest.raises(BadImageError, match=r"a\.ome\.zarr: damaged \(.*\); copy it again from its source"):
        read_volume(path)


def test_without_a_unit_lengths_are_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zarr", np.zeros((5, 6), np.uint8), "yx", unit="")
    assert read_volume(path).geometry.unit == "px"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_added_to_their_image(tmp_path: Path, rng: np.random.Generator, version: str) -> None:
    path = save(tmp_path / "a.zarr", np.zeros((4, 5, 6), np.uint16), "zyx", version)
    image = read_volume(path)
    labels = rng.integers(0, 70_000, image.shape)
    for name in ("nuclei", "cells", "nuclei"):
        write_labels(path / "labels" / name, labels, like=image, label_names={0: "background", 1: "nucleus"})
    group = zarr.open_group(path, mode="r")
    listed = dict(group["labels"].attrs)
    assert listed.get("ome", listed)["labels"] == ["nuclei", "cells"]
    own = dict(group["labels/nuclei"].attrs)
    described = own.get("ome", own)["image-label"]
    assert described["source"] == {"image": "../../"}
    assert described["properties"] == [{"label-value": 1, "name": "nucleus"}]
    assert group["labels/nuclei"].metadata.zarr_format == (3 if version == "0.5" else 2)
    found = read_labels(path / "labels" / "nuclei", like=image)
    assert np.array_equal(found.data[0], labels)
    assert np.array_equal(read_volume(path).data, image.data)
    with pytest.raises(
        BadImageError, match=r"expected one label image, got cells, nuclei; name one, such as"
    ):
        read_labels(path)


def test_the_only_labels_of_an_image_need_no_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zarr", np.zeros((5, 6), np.uint16), "yx")
    labels = np.eye(5, 6, dtype=np.uint8)[..., None]
    write_labels(path / "labels" / "cells", labels, like=read_volume(path))
    assert np.array_equal(reader_for(path).read_labels(path).data[0], labels)


def test_masks_of_their_own_are_replaced_and_the_image_is_not(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zarr", np.zeros((5, 6), np.uint16), "yx")
    image = read_volume(path)
    for value in (1, 2):
        write_labels(tmp_path / "m.zarr", np.full(image.shape, value), like=image)
    assert np.unique(read_labels(tmp_path / "m.zarr").data) == [2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "m.zarr"]
    assert "image-label" in dict(zarr.open_group(tmp_path / "m.zarr", mode="r").attrs)["ome"]
    with pytest.raises(ConfigError, match=r"a\.zarr: is the image itself, which would be lost"):
        write_labels(path, np.zeros(image.shape), like=image)


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.zarr", np.zeros((5, 6), np.uint16), "yx")
    image = read_volume(path)
    write_labels(tmp_path / "m.zarr", np.full(image.shape, 1), like=image)
    from medconv.io.microscopy import ome_zarr_write

    monkeypatch.setattr(ome_zarr_write, "_described", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_labels(tmp_path / "m.zarr", np.full(image.shape, 2), like=image)
    assert np.unique(read_labels(tmp_path / "m.zarr").data) == [1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "m.zarr"]


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "plate.zarr", mode="w").attrs.update({"ome": {"plate": {}}})
    with pytest.raises(
        BadImageError, match=r"expected an image, got a plate; name an image in it, such as .*1/0"
    ):
        read_header(tmp_path / "plate.zarr")
    group = zarr.open_group(tmp_path / "bare.zarr", mode="w")
    group.create_array("pixels", data=np.zeros((5, 6)))
    with pytest.raises(
        BadImageError, match=r"expected an OME-Zarr image .* got a group with pixels; name the folder"
    ):
        read_header(tmp_path / "bare.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(BadImageError, match=r"empty\.zarr: damaged or no Zarr group \(.*\); name the folder"):
        read_header(tmp_path / "empty.zarr")
    with pytest.raises(BadImageError, match=r"gone\.zarr: no such file"):
        read_header(tmp_path / "gone.zarr")


def test_pixels_outside_the_folder_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zarr", np.zeros((5, 6), np.uint8), "yx")
    group = zarr.open_group(path, mode="r+")
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["datasets"][0]["path"] = "../b.zarr/0"
    group.attrs["ome"] = ome
    with pytest.raises(
        BadImageError, match=r"expected pixels inside the folder, its attributes name '\.\./b\.zarr/0'"
    ):
        read_header(path)


def test_the_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.zarr", np.zeros((5, 6), np.uint8), "yx")
    monkeypatch.setattr(ome_zarr, "zarr", None)
    with pytest.raises(
        BadImageError, match=r"OME-Zarr needs zarr; pip install 'medconv\[zarr\]', or convert"
    ):
        read_header(path)


def test_labels_outside_the_folder_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zarr", np.zeros((5, 6), np.uint8), "yx")
    zarr.open_group(path, mode="r+").create_group("labels").attrs.update(
        {"ome": {"labels": ["../../b.zarr"]}}
    )
    with pytest.raises(BadImageError, match=r"expected pixels inside the folder, its attributes name"):
        read_labels(path)
