"""Images of a microscope through the commands: what users state, what is written, what is said."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiny_checkpoint import save_checkpoint, tiny_plan

from medconv.cli.main import main
from medconv.inference import Predictor
from medconv.io import ImageLayout, reader_for

SPEC = {
    "class_path": "UNet",
    "init_args": {
        "spatial_dims": 2,
        "in_channels": 1,
        "num_classes": 2,
        "channels": [4, 8],
        "conv": [{"class_path": "StandardConv"}] * 2,
    },
}
PLAN = {
    "spatial_dims": 2,
    "channel_names": ("fluorescence",),
    "label_names": {0: "background", 1: "nucleus"},
    "spacing_mm": (1.0, 1.0),
    "patch_size": (16, 16),
    "normalization": ("percentile",),
    "orientation": "native",
    "unit": "px",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("net") / "flat.ckpt", spec=SPEC, plan=tiny_plan(**PLAN))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 255, (20, 24), np.uint8)


@pytest.fixture
def images(tmp_path: Path, pixels: np.ndarray) -> Path:
    """The same image in several formats, and some that cannot be used."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(pixels).save(folder / "grey.png")
    sizes = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(folder / "sized.ome.tif", pixels.astype(np.uint16) * 200, metadata=sizes)
    Image.fromarray(np.stack([pixels, 255 - pixels, pixels], -1)).save(folder / "colour.png")
    (folder / "broken.png").write_bytes((folder / "grey.png").read_bytes()[:200])
    return folder


def run(*words: object) -> int:
    return main([str(word) for word in words])


def predict(images: Path, out: Path, checkpoint: Path, *words: object) -> int:
    return run("predict", checkpoint, "-i", images, "-o", out, "--device", "cpu", *words)


@pytest.mark.slow
def test_masks_lie_in_the_formats_of_their_images_and_failures_are_named(
    images: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert (
        predict(images, out, checkpoint, "--preview", "--save-probabilities", "--stats", tmp_path / "s.csv")
        == 1
    )
    said = capsys.readouterr().err
    assert "failed: broken: " in said
    assert (
        "colour.png: expected 1 channel(s), got 3; choose one of them (--channel, such as --channel 0)"
        in said
    )
    found = sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*.*") if path.suffix in (".tif", ".png")
    )
    assert found == [
        "grey.tif",
        "preview/grey.png",
        "preview/sized.png",
        "probabilities/grey.tif",
        "probabilities/sized.ome.tif",
        "sized.ome.tif",
    ]
    grey, sized = (reader_for(out / n).read_labels(out / n) for n in ("grey.tif", "sized.ome.tif"))
    assert np.array_equal(grey.data, sized.data)  # trained on pixels, so their size is of no consequence
    assert grey.geometry.unit == "px"
    np.testing.assert_allclose(sized.geometry.spacing_mm[:2], (5e-4, 5e-4))
    shares = reader_for(out / "probabilities/grey.tif").read_volume(out / "probabilities/grey.tif")
    np.testing.assert_allclose(shares.data.sum(axis=0), 1, atol=2e-3)
    is_sure = np.abs(shares.data[1] - 0.5) > 1e-3
    assert np.array_equal(shares.data.argmax(axis=0)[is_sure], grey.data[0][is_sure])
    rows = {row["case"]: row for row in csv.DictReader((tmp_path / "s.csv").read_text().splitlines())}
    assert rows["grey"]["voxels"] == str((grey.data == 1).sum())
    assert (rows["grey"]["volume_ml"], rows["grey"]["centroid_a_mm"]) == ("", "")
    assert rows["sized"]["volume_ml"] == ""
    assert float(rows["sized"]["centroid_a_mm"]) < 0  # rows run downwards
    assert predict(images, out, checkpoint, "--skip-existing") == 1
    assert "2 skipped, 2 failed" in capsys.readouterr().out


def test_what_the_user_states_reaches_the_reader(
    images: Path, tmp_path: Path, checkpoint: Path, pixels: np.ndarray
) -> None:
    out = tmp_path / "one.png"
    assert predict(images / "colour.png", out, checkpoint, "--channel", 1, "--pixel-size-um", 0.5, 0.25) == 0
    expected = Predictor.from_checkpoint(checkpoint, device="cpu").predict(
        images / "colour.png", layout=ImageLayout(channels=(1,))
    )
    with Image.open(out) as mask:
        assert np.array_equal(np.asarray(mask), expected.labels[..., 0])


@pytest.mark.slow
def test_axes_that_nobody_says_are_stated(tmp_path: Path, checkpoint: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([pixels] * 5), metadata=None, photometric="minisblack")
    assert predict(tmp_path / "stack.tif", tmp_path / "s.tif", checkpoint) == 1
    assert (
        predict(tmp_path / "stack.tif", tmp_path / "s.tif", checkpoint, "--axes", "CYX", "--channel", 4) == 0
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--axes", "YQ"], "axes: expected one letter an axis"),
        (
            ["--channel", "0", "best.ckpt"],
            "--channel: expected int. Got value: best.ckpt; for example --channel 0 2, with what",
        ),
        (["--channel", "-1"], "channel: expected numbers from 0, each once"),
        (["--pixel-size-um", "0"], "pixel size: expected one number of µm"),
    ],
)
def test_wrong_words_are_told(
    images: Path,
    checkpoint: Path,
    words: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(images.parent)
    assert run("predict", "-i", "in/grey.png", "-o", "out", "--device", "cpu", checkpoint, *words) == 2
    assert text in capsys.readouterr().err


def test_masks_of_any_format_are_measured_against_each_other(
    tmp_path: Path, pixels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = (pixels > 127).astype(np.uint8)
    for folder in ("masks", "truth"):
        (tmp_path / folder).mkdir()
    Image.fromarray(truth * 255).save(tmp_path / "truth" / "a.png")
    tifffile.imwrite(tmp_path / "masks" / "a.tif", truth.astype(np.uint16))
    assert (
        run("evaluate", tmp_path / "masks", tmp_path / "truth", "--pixel-size-um", "0.5", "--workers", 1) == 0
    )
    out, err = capsys.readouterr()
    assert "1.0000" in out or "1.000" in out
    assert "remark: a: a mask of the values 0 and 255 was taken for one of 0 and 1" in err


def test_an_image_and_its_mask_are_shown(images: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", (pixels > 127).astype(np.uint8))
    page = tmp_path / "page.html"
    assert run("view", images / "sized.ome.tif", tmp_path / "mask.tif", "-o", page) == 0
    assert "µm²" in page.read_text(encoding="utf-8")
    assert run("view", images / "grey.png", tmp_path / "mask.tif", "-o", page, "--overwrite") == 0
    assert " px<" in page.read_text(encoding="utf-8")


def test_nothing_is_stated_about_volumes_of_patients(
    tmp_path: Path, tiny_nifti, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("view", tiny_nifti("scan.nii.gz"), "-o", tmp_path / "p.html", "--axes", "ZYX") == 2
    assert "axes, channel and pixel size are stated for microscopy images" in capsys.readouterr().err


def test_what_readers_notice_is_a_remark_about_the_case(
    tmp_path: Path, pixels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.roll(pixels, ord(name), 0)).save(tmp_path / "images" / f"{name}.png")
        mask = (np.roll(pixels, ord(name), 0) > 127).astype(np.uint8)
        Image.fromarray(mask * 255).save(tmp_path / "labels" / f"{name}.png")
    assert run("check", tmp_path, "--labels", "semantic", "--label-names", "[cell]", "--threads", 2) == 0
    out, err = capsys.readouterr()
    assert "remark   note       case a: a mask of the values 0 and 255 was taken for one of 0 and 1" in out
    assert "UserWarning" not in err
    assert run("check", tmp_path, "--axes", "ZYX", "--label-names", "[cell]") == 1
    assert "got --axes ZYX for the shape (20, 24), which the file calls YX" in capsys.readouterr().out
