"""`medconv tune-postprocessing` with a network of single objects, as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from object_scenes import ellipsoids
from tiny_checkpoint import SPEC, save_checkpoint

from medconv.cli.main import main
from medconv.inference import Separation
from medconv.planning import InstanceTarget, Plan


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Works at half a micrometre a pixel, and nobody says of the images below how large theirs are."""
    plan = Plan(
        spatial_dims=2,
        channel_names=("DNA",),
        spacing_mm=(0.0005, 0.0005),
        patch_size=(16, 16),
        normalization=("zscore",),
        orientation="native",
        **InstanceTarget(levels=3, name="nucleus").plan_values(),
    )
    network = SPEC["init_args"] | {"spatial_dims": 2, "conv": {"class_path": "StandardConv"}}
    return save_checkpoint(
        tmp_path / "run/best.ckpt", spec={"class_path": "UNet", "init_args": network}, plan=plan
    )


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    for number in range(2):
        objects = ellipsoids(np.random.default_rng(number), (24, 24), 4, (4, 6)).astype(np.uint16)
        for name, data in (("images", (objects > 0) * np.uint8(200)), ("labels", objects)):
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"cell_{number}.tif", data)
    return [str(tmp_path / "labels"), "-i", str(tmp_path / "images")]


def test_what_an_image_does_not_say_can_be_stated(
    checkpoint: Path, folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "tune-postprocessing",
        str(checkpoint),
        *folders,
        "-o",
        str(tmp_path / "a.yaml"),
        "--device",
        "cpu",
    ]
    assert main(words) == 1
    assert "state it (--pixel-size-um, or pixel_size_um)" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--pixel-size-um", "0.5"]) == 0
    seen = capsys.readouterr().out
    assert "2 case(s) decided" in seen
    assert "mean panoptic quality" in seen
    (content,) = yaml.safe_load((tmp_path / "a.yaml").read_text()).values()
    assert Separation.from_dict(content).to_dict() == content
