from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from conftest import save_nifti, two_ellipsoids

import medconv
from medconv.errors import BadImageError, ConfigError, GeometryError
from medconv.io import ImageLayout, Volume, read_image
from medconv.reporting.vendor import niivue_licences, niivue_packed
from medconv.reporting.viewer import view
from medconv.reporting.viewer_nifti import in_16_bits, nifti_bytes
from medconv.reporting.viewer_volumes import made_to_fit, to_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAMES = {1: "head", 2: "</script><b>tail"}
SHAPE = (24, 26, 12)

NiftiFactory = Callable[..., Path]


@pytest.fixture
def pair(tiny_nifti: NiftiFactory) -> tuple[Path, Path]:
    labels = two_ellipsoids(SHAPE, 0.1)
    image = (100 + 60 * labels + np.random.default_rng(0).normal(0, 8, SHAPE)).astype(np.float32)
    return tiny_nifti("scan.nii.gz", image), tiny_nifti("mask.nii.gz", labels)


def carried(page: str, name: str) -> bytes:
    """What a page carries under a name."""
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]+)</script>', page)
    assert found
    return base64.b64decode(found[1])


def facts(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="study">([^<]+)</script>', page)
    assert found
    return json.loads(found[1])


def as_nifti(content: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


# ---------------------------------------------------------------- the voxels


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_nibabel_reads_what_the_page_carries(dtype: str, oblique_affine: np.ndarray) -> None:
    data = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    read = as_nifti(nifti_bytes(data, oblique_affine, 2.0, -7.0))
    np.testing.assert_allclose(read.affine, oblique_affine, atol=1e-5)
    np.testing.assert_allclose(read.header.get_zooms(), (0.8, 0.8, 2.5), rtol=1e-5)
    assert read.get_data_dtype() == np.dtype(dtype)
    assert read.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(read.get_fdata(), data * 2.0 - 7.0)


def test_whole_numbers_stay_exact_and_others_are_close() -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(-2000, 3000, (5, 6, 7)).astype(np.float32)
    assert in_16_bits(whole)[1:] == (1.0, 0.0)
    for image in (rng.normal(0, 1e6, (5, 6, 7)), rng.random((4, 4, 4)) * 1e-9, np.full((2, 2, 2), 0.5)):
        stored, slope, intercept = in_16_bits(image)
        assert stored.dtype == np.int16
        span = image.max() - image.min()
        assert np.abs(stored * slope + intercept - image).max() <= span / 131068 * 1.001


def test_the_page_carries_image_mask_names_and_volumes(pair: tuple[Path, Path]) -> None:
    page = view(*pair, label_names=NAMES).html
    image, mask = (nib.load(path) for path in pair)
    shown = as_nifti(carried(page, "image"))
    np.testing.assert_allclose(shown.get_fdata(), image.get_fdata(), atol=0.01)
    np.testing.assert_allclose(shown.affine, image.affine, atol=1e-5)
    np.testing.assert_array_equal(as_nifti(carried(page, "layer-0")).get_fdata(), mask.get_fdata())
    (layer,) = facts(page)["layers"]
    assert (layer["name"], layer["labels"], layer["names"]) == ("mask", [1, 2], ["head", NAMES[2]])
    assert len({tuple(colour) for colour in layer["colours"]}) == 2
    volume_ml = (mask.get_fdata() == 1).sum() * 0.8 * 0.8 * 2.5 / 1000
    assert f"{volume_ml:.3g} ml" in page
    start = np.linalg.solve(image.affine, [*facts(page)["start_mm"], 1])[:3]
    assert mask.get_fdata()[tuple(np.rint(start).astype(int))] > 0


def test_names_are_text_and_never_markup(pair: tuple[Path, Path]) -> None:
    page = view(*pair, label_names=NAMES, title="<i>t</i>").html
    assert "<b>tail" not in page
    assert "<i>" not in page
    assert html.escape(NAMES[2]) in page


def test_names_in_the_file_are_used(pair: tuple[Path, Path], tmp_path: Path) -> None:
    from medconv.io import read_image, write_labels

    image = read_image([pair[0]])
    write_labels(tmp_path / "own.nii.gz", two_ellipsoids(SHAPE, 0.1), image, {1: "liver", 2: "spleen"})
    names = facts(view(pair[0], tmp_path / "own.nii.gz", label_names={2: "mine"}).html)["layers"][0]["names"]
    assert names == ["liver", "mine"]


def test_large_and_scattered_label_values_are_kept_apart(
    pair: tuple[Path, Path], tiny_nifti: NiftiFactory
) -> None:
    labels = two_ellipsoids(SHAPE, 0.1).astype(np.int32) * 4000
    page = view(pair[0], tiny_nifti("big.nii.gz", labels)).html
    (layer,) = facts(page)["layers"]
    assert layer["labels"] == [4000, 8000]
    assert layer["names"] == ["label 4000", "label 8000"]
    assert as_nifti(carried(page, "layer-0")).get_data_dtype() == np.uint8


def test_a_structure_has_one_colour_in_every_mask(pair: tuple[Path, Path], tiny_nifti: NiftiFactory) -> None:
    second = tiny_nifti("other/mask.nii.gz", (two_ellipsoids(SHAPE, 0.1) == 2).astype(np.uint8) * 2)
    first, other = facts(view(*pair, second).html)["layers"]
    assert first["colours"][1] == other["colours"][0]
    assert other["name"] == "other/mask"


def test_arrays_images_and_volumes_are_taken_too(pair: tuple[Path, Path]) -> None:
    image, mask = nib.load(pair[0]), nib.load(pair[1])
    by_path = view(*pair, title="x").html
    by_nibabel = view(image, mask, title="x").html
    assert carried(by_path, "image") == carried(by_nibabel, "image")
    assert carried(by_path, "layer-0") == carried(by_nibabel, "layer-0")
    slice_ = view(np.eye(6), np.eye(6, dtype=int), spacing_mm=(0.5, 0.5)).html
    assert as_nifti(carried(slice_, "image")).shape == (6, 6, 1)
    assert "three planes" not in slice_
    channels = view(np.stack([np.zeros((4, 4, 4)), np.ones((4, 4, 4))]), spacing_mm=(1, 1, 1), channel=1)
    assert channels.notes == ("channel 1 of 2",)
    assert as_nifti(carried(channels.html, "image")).get_fdata().min() == 1


def test_nothing_is_fetched_and_the_policy_forbids_it(pair: tuple[Path, Path]) -> None:
    page = view(*pair).html
    own = re.sub(r'<script type="text/plain"[^>]*>[^<]*</script>|<pre>.*?</pre>', "", page, flags=re.S)
    assert "http" not in own.replace("http-equiv", "")
    assert re.findall(r'(?:src|href)="([^"]+)"', own) == ["data:,"]
    assert "default-src 'none'" in own
    assert view(*pair).html == page


def test_a_notebook_gets_the_page_in_a_frame(pair: tuple[Path, Path], tmp_path: Path) -> None:
    viewer = medconv.view(*pair, height_px=300)
    shown = viewer._repr_html_()
    assert re.fullmatch(
        r'<iframe srcdoc="[^"]+" title="Viewer" width="100%" height="300" style="border: 0"></iframe>', shown
    )
    assert html.unescape(re.search(r'srcdoc="([^"]+)"', shown)[1]) == viewer.html  # type: ignore[index]
    assert viewer.save(tmp_path / "a.html").read_text() == viewer.html
    assert re.fullmatch(r"Viewer\(1\.\d MiB of HTML; save\('page.html'\) keeps it\)", repr(viewer))


# ---------------------------------------------------------------- too large


def test_a_large_image_is_made_coarser_only_if_asked() -> None:
    image = np.arange(40 * 40 * 10, dtype=np.float32).reshape(40, 40, 10)
    labels = np.zeros(image.shape, np.uint8)
    labels[10:20, 10:20, 2:6] = 3
    study = to_study(image, [labels], spacing_mm=(1, 1, 5))
    with pytest.raises(ConfigError, match=r"40 × 40 × 10 voxels are more than the 4,000 .*--downsample"):
        made_to_fit(study, 4000)
    coarse = made_to_fit(study, 4000, downsample=True)
    # the thick axis is left alone
    assert coarse.image.shape == (20, 20, 10)
    np.testing.assert_allclose(coarse.image[0, 0, 0], image[:2, :2, 0].mean())
    assert (coarse.layers[0].ranks > 0).sum() == 5 * 5 * 4
    assert coarse.layers[0].sizes == study.layers[0].sizes == ("2 ml",)
    assert coarse.notes == ("shown at 20 × 20 × 10 of 40 × 40 × 10 voxels; volumes are those of all voxels",)
    # the first coarse voxel lies in the middle of the four that it stands for
    np.testing.assert_allclose(coarse.affine @ [0, 0, 0, 1], study.affine @ [0.5, 0.5, 0, 1])


@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 9, 2), (2, 2, 2)])
def test_odd_sizes_are_made_coarser_without_a_gap(shape: tuple[int, int, int]) -> None:
    study = to_study(np.ones(shape), [np.ones(shape, int)], spacing_mm=(1, 1, 1))
    coarse = made_to_fit(study, 4, downsample=True)
    assert coarse.image.size <= 4
    assert (coarse.image == 1).all()
    assert (coarse.layers[0].ranks == 1).all()


# ---------------------------------------------------------------- what cannot be shown


def test_what_does_not_belong_together_is_refused(pair: tuple[Path, Path], tiny_nifti: NiftiFactory) -> None:
    scan, _ = pair
    with pytest.raises(GeometryError, match="expected the shape"):
        view(scan, tiny_nifti("small.nii.gz", np.zeros((4, 4, 4), np.uint8)))
    with pytest.raises(GeometryError, match="expected the grid of"):
        view(scan, tiny_nifti("far.nii.gz", np.zeros(SHAPE, np.uint8), np.eye(4)))
    with pytest.raises(BadImageError, match="an intensity image is no label map"):
        view(scan, scan)
    with pytest.raises(
        BadImageError, match=r"mask 1: expected at most 1000 labels, got \d+; is this an image"
    ):
        view(scan, np.arange(np.prod(SHAPE)).reshape(SHAPE))
    with pytest.raises(BadImageError, match=r"mask 1: expected labels of shape \(24, 26, 12\), got \(3, 3\)"):
        view(scan, np.zeros((3, 3), int))
    with pytest.raises(ConfigError, match="expected a channel from 0 to 0, got 3"):
        view(scan, channel=3)
    with pytest.raises(ConfigError, match=r"array with spacing_mm=\(…\), got ndarray without it"):
        view(np.zeros((3, 3, 3)))
    with pytest.raises(ConfigError, match="expected max_voxels from 1, got 0"):
        view(scan, max_voxels=0)


# ---------------------------------------------------------------- what is vendored


def test_the_vendored_script_is_the_published_one_with_its_licences() -> None:
    pin = json.loads((files("medconv.reporting.vendor") / "niivue.json").read_text())
    script = gzip.decompress(niivue_packed())
    assert hashlib.sha256(script).hexdigest() == pin["sha256"]
    assert pin["integrity"].startswith("sha512-")
    assert b"niivue" in script
    licences = niivue_licences()
    assert "BSD 2-Clause License" in licences
    assert all(name in licences for name in ("fflate", "gl-matrix", "nifti-reader-js", "zarrita"))


# ---------------------------------------------------------------- in a browser

# presses keys and buttons as a person would, and tells what the page then shows
PROBE = """
<script>
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  for (let n = 0; n < 200 && !document.body.dataset.state; n++) await wait(50);
  const told = { state: document.body.dataset.state, start: document.getElementById("place").textContent };
  if (told.state === "ready") {
    const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    const opacity = () => Number(nv.volumes[1].opacity.toFixed(2));
    told.volumes = nv.volumes.length;
    press("m"); told.off = opacity();
    press("m"); told.on = opacity();
    press("+"); told.more = opacity();
    document.getElementById("on-0").click(); told.unticked = opacity();
    document.getElementById("on-0").click();
    document.querySelector('input[data-place="1"]').click();
    told.alphas = Array.from(nv.volumes[1].colormapLabel.lut).filter((_, n) => n % 4 === 3);
    document.querySelector('input[data-place="1"]').click();
    press("v"); told.layout = nv.opts.sliceType; press("v"); press("v"); press("v"); press("v");
    press("o"); told.outline = nv.opts.atlasOutline; press("o");
    for (let n = 0; n < 40; n++) press("PageUp");
    told.moved = document.getElementById("place").textContent;
    press("r");
  }
  console.log("PROBE " + JSON.stringify(told));
})();
</script>
"""


def shown(page: Path) -> dict:
    """What the page tells of itself in Chromium, whose picture of it is ``shot.png`` beside it."""
    page.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    words = [str(CHROMIUM), "--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking"]
    words += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars"]
    words += ["--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1100,700"]
    words += [f"--screenshot={page.parent}/shot.png", f"--user-data-dir={page.parent}/profile"]
    words += ["--enable-logging=stderr", "--virtual-time-budget=20000"]
    done = subprocess.run([*words, page.as_uri()], capture_output=True, text=True, timeout=240)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert len(said) == 1, said
    return json.loads(re.search(r'PROBE (\{.*\})"', said[0])[1].replace('\\"', '"'))  # type: ignore[index]


def picture(folder: Path, pixel_size_um: float | None) -> Volume:
    """A microscopy image of 40 × 30 pixels, whose size nobody knows or the user states."""
    tifffile.imwrite(folder / "cells.tif", np.arange(1200, dtype=np.uint16).reshape(40, 30))
    size = () if pixel_size_um is None else (pixel_size_um,)
    return read_image([folder / "cells.tif"], layout=ImageLayout(pixel_size_um=size))


@pytest.mark.parametrize(
    ("pixel_size_um", "length"),
    [(None, {"unit": "px", "per_unit": 1}), (0.65, {"unit": "µm", "per_unit": 1000})],
)
def test_places_are_told_in_the_unit_of_the_image(
    pixel_size_um: float | None, length: dict, tmp_path: Path
) -> None:
    assert facts(view(picture(tmp_path, pixel_size_um)).html)["length"] == length
    coarse = view(picture(tmp_path, pixel_size_um), max_voxels=400, downsample=True)
    assert facts(coarse.html)["length"] == length


def test_places_in_patients_are_told_in_mm(pair: tuple[Path, Path]) -> None:
    assert facts(view(*pair).html)["length"] == {"unit": "mm", "per_unit": 1}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(("pixel_size_um", "unit"), [(None, "px"), (0.65, "µm")])
def test_a_browser_tells_where_in_a_picture_the_crosshair_is(
    pixel_size_um: float | None, unit: str, tmp_path: Path
) -> None:
    mask = np.zeros((40, 30), np.uint8)
    mask[20, 10], mask[20, 11] = 1, 2
    page = view(picture(tmp_path, pixel_size_um), mask).save(tmp_path / "page.html")
    told = shown(page)
    x, y, _ = (abs(float(word)) for word in told["start"].split(f" {unit} ")[0].split(", "))
    assert sorted((x, y)) == pytest.approx([10, 20] if unit == "px" else [6.5, 13.0], abs=0.1)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_it_offline_and_obeys_keys(tmp_path: Path, oblique_affine: np.ndarray) -> None:
    from matplotlib.image import imread

    labels = two_ellipsoids((40, 40, 20), 0.0)
    image = save_nifti(
        tmp_path / "scan.nii.gz", (labels * 50 + 10).astype(np.float32), np.diag([1, 1, 2, 1.0])
    )
    mask = save_nifti(tmp_path / "mask.nii.gz", labels, np.diag([1, 1, 2, 1.0]))
    page = view(image, mask, label_names={1: "head", 2: "tail"}).save(tmp_path / "page.html")
    told = shown(page)
    assert told["state"] == "ready"
    assert re.fullmatch(r"[\d., -]+ mm · intensity (60|110) · mask: (head|tail)", told["start"])
    assert (told["volumes"], told["off"], told["on"], told["more"]) == (2, 0, 0.5, 0.6)
    assert told["unticked"] == 0
    assert told["alphas"] == [0, 255, 0]
    assert told["layout"] == 0
    assert told["outline"] == 1
    # the crosshair stopped at the last slice, where there is no label
    assert told["moved"].endswith("38.0 mm · intensity 10")
    pixels = imread(tmp_path / "shot.png")[..., :3]
    assert pixels.shape[:2] == (700, 1100)
    orange = (pixels[..., 0] > 0.5) & (pixels[..., 1] > 0.3) & (pixels[..., 2] < 0.3)
    blue = (pixels[..., 2] > 0.5) & (pixels[..., 0] < 0.5) & (pixels[..., 1] > 0.4)
    slices = np.zeros(pixels.shape[:2], bool)
    slices[40:660, :820] = True
    assert (orange & slices).sum() > 2000
    assert (blue & slices).sum() > 2000
