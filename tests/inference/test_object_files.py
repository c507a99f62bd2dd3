"""What lies beside masks of objects, through the command: regions, a table of properties, and refusals."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import roifile
import tifffile
from tiny_checkpoint import save_checkpoint, tiny_plan

from medconv.cli.main import main
from medconv.inference import Prediction
from medconv.inference.companions import Place
from medconv.inference.object_files import RegionCollector, Rois, measure_object_mask
from medconv.inference.region_properties import measure_regions
from medconv.io import ImageLayout, read_volume, reader_for, volume_from_array, write_volume
from medconv.planning import InstanceTarget

SPEC = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 2, "in_channels": 1, "num_classes": 5, "channels": [4, 8]},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    target = InstanceTarget(name="nucleus")
    plan = tiny_plan(
        spatial_dims=2,
        channel_names=("DNA",),
        spacing_mm=(0.00065, 0.00065),
        patch_size=(32, 32),
        orientation="native",
        **target.plan_values(),
    )
    return save_checkpoint(tmp_path / "net.ckpt", spec=SPEC, plan=plan)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"images/{name}.tif", rng.integers(0, 255, (48, 40)).astype(np.uint8))
    return tmp_path / "images"


def predict(*words: object) -> int:
    return main(["predict", *map(str, words), "--device", "cpu"])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_masks_of_objects_have_regions_properties_and_previews(
    checkpoint: Path, images: Path, tmp_path: Path
) -> None:
    out, table = tmp_path / "masks", tmp_path / "objects.csv"
    words = [checkpoint, "-i", images, "-o", out, "--rois", "--preview", "--region-table", table]
    assert predict(*words, "--pixel-size-um", 0.65) == 0
    rows = rows_of(table)
    for name in ("a", "b"):
        mask = reader_for(out / f"{name}.tif").read_labels(out / f"{name}.tif").data[0, ..., 0]
        numbers = np.unique(mask[mask > 0]).tolist()
        own = [row for row in rows if row["case"] == name]
        assert [int(row["object"]) for row in own] == numbers
        areas = [(mask == n).sum() * 0.65**2 for n in numbers]
        assert [float(row["area_um2"]) for row in own] == pytest.approx(areas, rel=1e-5)
        assert (out / f"preview/{name}.png").is_file()
        assert (out / f"rois/{name}.zip").is_file()
        if numbers:
            assert [int(roi.name) for roi in roifile.roiread(out / f"rois/{name}.zip")] == numbers
    before = table.read_bytes()
    assert predict(*words, "--pixel-size-um", 0.65, "--skip-existing") == 0
    assert table.read_bytes() == before
    table.unlink()
    assert predict(*words, "--pixel-size-um", 0.65, "--skip-existing") == 0
    assert table.read_bytes() == before


@pytest.mark.slow
def test_regions_of_anything_but_objects_are_refused(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = save_checkpoint(tmp_path / "classes.ckpt")
    for option in (["--rois"], ["--region-table", tmp_path / "t.csv"]):
        assert predict(classes, "-i", images, "-o", tmp_path / "m", *option) == 2
        told = capsys.readouterr().err
        assert f"{option[0]}: expected a network that tells single objects apart" in told
        assert "got one of the labels background, head, tail" in told
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    assert (
        predict(checkpoint, "-i", images, "-o", tmp_path / "m", "--region-table", tmp_path / "mine.csv") == 2
    )
    told = capsys.readouterr().err
    assert "mine.csv exists and is no table of medconv predict (expected columns case, object …" in told
    words = ["--region-table", tmp_path / "t.csv", "--shard", "1/2"]
    assert predict(checkpoint, "-i", images, "-o", tmp_path / "m", *words) == 2
    assert "--region-table t_1.csv" in capsys.readouterr().err.replace(f"{tmp_path}/", "")
    assert predict(checkpoint, "-i", images, "-o", tmp_path / "m", *words[:2], "--devices", 2) == 2
    assert "every device would write the same --stats, --region-table or --report" in capsys.readouterr().err


def test_companions_work_on_any_mask_of_objects(tmp_path: Path) -> None:
    labels = np.zeros((8, 9, 1), np.uint16)
    labels[1:4, 2:5], labels[5:7, 6:8] = 1, 2
    volume = volume_from_array(np.random.default_rng(0).normal(size=labels.shape), (0.001,) * 3)
    made = Prediction(labels, volume, {0: "background", 1: "cell"}, {}, has_objects=True)
    rois, collector, mask = Rois(Place(is_alone=True)), RegionCollector(), tmp_path / "m.nii.gz"
    for companion in (rois, collector):
        companion.write(made, mask)
        assert not companion.needs_probabilities
    assert rois.files(mask) == (tmp_path / "m_rois.zip",)
    assert collector.files(mask) == ()
    found = collector.take(mask)
    assert found.pixels.tolist() == [9, 4]
    assert collector.found == {}
    made.save(mask)
    write_volume(tmp_path / "image.nii.gz", volume.data, volume)
    again = measure_object_mask([tmp_path / "image.nii.gz"], mask, 1, ImageLayout())
    assert again.size.tolist() == pytest.approx(found.size.tolist(), rel=1e-5)
    assert measure_regions(labels, read_volume(tmp_path / "image.nii.gz")).unit == "um"
