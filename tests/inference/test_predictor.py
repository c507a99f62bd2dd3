from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_checkpoint import save_checkpoint, tiny_plan
from torch import Tensor, nn

from medconv.errors import BadImageError, ConfigError, GeometryError, MedconvError
from medconv.inference import Predictor, load
from medconv.inference.stopwatch import Stopwatch
from medconv.inference.ways import Way, ways_down
from medconv.io import read_volume, volume_from_array
from medconv.models import UNet

NiftiFactory = Callable[..., Path]
MINE = {"normalization": ("none",), "label_names": {0: "background", 1: "bright"}}


class Threshold(nn.Module):
    """Calls a voxel bright where it is above ``at``: its labels can be told without running it."""

    def __init__(self, at: float = 100.0) -> None:
        super().__init__()
        self.at = at

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.at - x[:, :1], x[:, :1] - self.at], dim=1)


def threshold(**options: Any) -> Predictor:
    return Predictor([Threshold()], [tiny_plan(**MINE, patch_size=(8, 8, 4))], device="cpu", **options)


@pytest.fixture
def scan(tiny_nifti: NiftiFactory) -> Path:
    return tiny_nifti("scan.nii.gz")


@pytest.fixture
def voxels(scan: Path) -> np.ndarray:
    return np.asarray(nib.load(scan).dataobj, dtype=np.float32)


# ---------------------------------------------------------------- the same answer for every kind of input


def test_labels_lie_on_the_grid_of_the_file(scan: Path, voxels: np.ndarray) -> None:
    prediction = threshold().predict(scan)
    np.testing.assert_array_equal(prediction.labels, voxels > 100)
    assert prediction.labels.dtype == np.uint8
    assert prediction.label_names == {0: "background", 1: "bright"}
    np.testing.assert_allclose(prediction.geometry.affine, nib.load(scan).affine, atol=1e-6)
    assert set(prediction.seconds) == {"read", "preprocess", "network", "restore"}
    assert prediction.notes == ()


def test_a_path_as_text_and_a_list_of_one_path_are_the_same(scan: Path, voxels: np.ndarray) -> None:
    for x in (str(scan), [scan], (str(scan),)):
        np.testing.assert_array_equal(threshold().predict(x).labels, voxels > 100)


def test_a_nibabel_image(scan: Path, voxels: np.ndarray) -> None:
    np.testing.assert_array_equal(threshold().predict(nib.load(scan)).labels, voxels > 100)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("has_channel_axis", [False, True])
def test_an_array_with_its_spacing(voxels: np.ndarray, as_tensor: bool, has_channel_axis: bool) -> None:
    array = voxels[None] if has_channel_axis else voxels
    x = torch.from_numpy(array) if as_tensor else array
    prediction = threshold().predict(x, spacing_mm=(0.8, 0.8, 2.5))
    np.testing.assert_array_equal(prediction.labels, voxels > 100)


def test_a_slice_gives_a_slice() -> None:
    plan = tiny_plan(**MINE, spatial_dims=2, spacing_mm=(1.0, 1.0), patch_size=(4, 4), orientation="native")
    image = np.random.default_rng(0).normal(100, 10, (9, 11)).astype(np.float32)
    prediction = Predictor([Threshold()], [plan], device="cpu", mirror=True).predict(image, spacing_mm=(1, 1))
    np.testing.assert_array_equal(prediction.labels, image > 100)


def test_channels_in_files_of_their_own(tiny_nifti: NiftiFactory, voxels: np.ndarray) -> None:
    plan = tiny_plan(**MINE | {"channel_names": ("T1", "T2"), "normalization": ("none", "none")})
    paths = [tiny_nifti("a_0000.nii.gz", voxels), tiny_nifti("a_0001.nii.gz", np.zeros_like(voxels))]
    prediction = Predictor([Threshold()], [plan], device="cpu").predict(paths)
    np.testing.assert_array_equal(prediction.labels, voxels > 100)
    both = np.stack([voxels, np.zeros_like(voxels)])
    same = Predictor([Threshold()], [plan], device="cpu").predict(both, spacing_mm=(0.8, 0.8, 2.5))
    np.testing.assert_array_equal(same.labels, prediction.labels)


@pytest.mark.parametrize("turn", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_every_storage_order_gives_the_same_labels_at_its_own_place(
    tiny_nifti: NiftiFactory, voxels: np.ndarray, turn: tuple[int, ...], order: tuple[int, ...]
) -> None:
    affine = np.diag([0.8, 0.8, 2.5, 1.0]) @ np.diag([*turn, 1.0])
    affine[:, :3] = affine[:, list(order)]
    path = tiny_nifti("turned.nii.gz", voxels.transpose(order), affine)
    np.testing.assert_array_equal(threshold().predict(path).labels, voxels.transpose(order) > 100)


def test_other_spacings_are_resampled_and_brought_back(tiny_nifti: NiftiFactory) -> None:
    ball = np.zeros((20, 20, 20), dtype=np.float32)
    ball[5:15, 5:15, 5:15] = 200
    path = tiny_nifti("fine.nii.gz", ball, np.diag([0.5, 0.5, 2.0, 1.0]))
    labels = threshold().predict(path).labels
    assert labels.shape == ball.shape
    assert (labels == (ball > 100)).mean() > 0.97


# ---------------------------------------------------------------- saving


def test_a_saved_mask_has_the_header_of_its_input(scan: Path, tmp_path: Path, voxels: np.ndarray) -> None:
    prediction = threshold().predict(scan)
    saved = nib.load(prediction.save(tmp_path / "new" / "mask.nii.gz"))
    np.testing.assert_array_equal(np.asarray(saved.dataobj), voxels > 100)
    np.testing.assert_allclose(saved.affine, nib.load(scan).affine, atol=1e-6)
    assert saved.get_data_dtype() == np.uint8
    assert b"bright" in saved.header.extensions[0].content


def test_a_prediction_as_nibabel_image(scan: Path, voxels: np.ndarray) -> None:
    image = threshold().predict(nib.load(scan)).to_nibabel()
    np.testing.assert_array_equal(np.asarray(image.dataobj), voxels > 100)
    np.testing.assert_allclose(image.affine, nib.load(scan).affine, atol=1e-6)


def test_a_slice_can_be_saved(tmp_path: Path) -> None:
    plan = tiny_plan(**MINE, spatial_dims=2, spacing_mm=(1.0, 1.0), patch_size=(4, 4), orientation="native")
    image = np.full((5, 6), 200.0)
    prediction = Predictor([Threshold()], [plan], device="cpu").predict(image, spacing_mm=(1, 1))
    saved = nib.load(prediction.save(tmp_path / "slice.nii"))
    assert np.asarray(saved.dataobj).squeeze().shape == (5, 6)


def test_volumes_are_in_millilitres() -> None:
    array = np.zeros((10, 10, 10), dtype=np.float32)
    array[:4, :5, :6] = 200
    prediction = threshold().predict(array, spacing_mm=(0.8, 0.8, 2.5))
    assert prediction.volumes_ml == pytest.approx({"bright": 120 * 0.8 * 0.8 * 2.5 / 1000})


# ---------------------------------------------------------------- settings


def test_two_thresholds_average_to_the_one_between() -> None:
    array = np.linspace(80, 120, 9 * 8 * 7, dtype=np.float32).reshape(9, 8, 7)
    pair = Predictor([Threshold(95), Threshold(105)], [tiny_plan(**MINE)] * 2, device="cpu")
    labels = pair.predict(array, spacing_mm=(0.8, 0.8, 2.5)).labels
    np.testing.assert_array_equal(labels, array > 100)


def test_each_network_is_asked_with_its_own_patch_and_every_flip(voxels: np.ndarray) -> None:
    seen: list[tuple[int, ...]] = []

    class Spy(Threshold):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(tuple(x.shape))
            return super().forward(x)

    plans = [tiny_plan(**MINE, patch_size=size) for size in ((8, 8, 4), (4, 4, 4))]
    predictor = Predictor([Spy(), Spy()], plans, device="cpu", mirror=True, tile_batch=1, overlap=0.0)
    labels = predictor.predict(voxels, spacing_mm=(0.8, 0.8, 2.5)).labels
    np.testing.assert_array_equal(labels, voxels > 100)
    assert {shape[2:] for shape in seen} == {(8, 8, 4), (4, 4, 4)}
    tiles = 2 * 1 * 2 + 3 * 2 * 2
    rehearsals = 2  # one tile a network, to see what memory it takes
    assert len(seen) == tiles * 8 + rehearsals
    assert {shape[0] for shape in seen} == {1}


def test_the_tile_of_each_network_is_planned_for() -> None:
    networks = [UNet(3, 1, 2, channels=widths).eval() for widths in ((64, 4), (4, 64))]
    plan = tiny_plan(**MINE, patch_size=(8, 8, 8), spacing_mm=(1.0, 1.0, 1.0))

    def tile_bytes(order: list[UNet]) -> tuple[int, ...]:
        engine = Predictor(order, [plan] * 2, device="cpu").engine
        volume = volume_from_array(np.zeros((8, 8, 8), np.float32), (1.0, 1.0, 1.0))
        return engine.case_size(engine.preprocessor.record(volume), 1, torch.device("cpu")).tile_bytes

    wide, narrow = tile_bytes(networks)
    assert wide > 2 * narrow
    assert tile_bytes(networks[::-1]) == (narrow, wide)


class PreparedError(Exception):
    """Ends a case once it is known where it is prepared."""


@pytest.mark.parametrize("gather", ["cpu", "cuda"])
def test_a_volume_is_prepared_where_its_scores_are_gathered(
    scan: Path, monkeypatch: pytest.MonkeyPatch, gather: str
) -> None:
    engine = threshold().engine

    def told(_: Any, device: torch.device) -> Any:
        raise PreparedError(device)

    monkeypatch.setattr(engine.preprocessor, "apply", told)
    with pytest.raises(PreparedError, match=gather):
        engine.labels(read_volume(scan), Way(torch.device("cuda"), torch.device(gather), 1), Stopwatch())


def test_sides_are_not_mirrored() -> None:
    plan = tiny_plan(normalization=("none",), label_names={0: "background", 1: "left lung"})
    assert Predictor([Threshold()], [plan], device="cpu", mirror=True).mirrored_axes == (1, 2)
    assert Predictor([Threshold()], [plan], device="cpu").mirrored_axes == ()


def test_lower_precision_is_used_where_it_is_asked_for(voxels: np.ndarray) -> None:
    seen = []

    class Spy(nn.Conv3d):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    plan = tiny_plan(normalization=("none",), label_names={0: "background", 1: "bright"})
    for precision, dtype in {"bf16": torch.bfloat16, "fp32": torch.float32, "auto": torch.float32}.items():
        predictor = Predictor([Spy(1, 2, 1)], [plan], device="cpu", precision=precision)  # type: ignore[arg-type]
        predictor.predict(voxels, spacing_mm=(0.8, 0.8, 2.5))
        assert seen[-1] == dtype


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"overlap": 1.0}, "expected overlap from 0 up to, not including, 1 .* got overlap 1.0"),
        ({"tile_batch": 0}, "tile_batch from 1; got overlap 0.5 and tile_batch 0"),
        ({"precision": "fp16"}, "fp16 is slower than fp32 on a CPU"),
        ({"precision": "fp8"}, "expected a precision of auto, fp32, bf16, fp16, got 'fp8'"),
    ],
)
def test_settings_are_checked_before_any_case(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        threshold(**options)


# ---------------------------------------------------------------- what should be known


def test_far_spacing_is_told_with_both_numbers(tiny_nifti: NiftiFactory, voxels: np.ndarray) -> None:
    path = tiny_nifti("thick.nii.gz", voxels, np.diag([0.8, 0.8, 10.0, 1.0]))
    text = r"thick\.nii\.gz: voxels of 0\.8 × 0\.8 × 10 mm are up to 4\.0 times off the 0\.8 × 0\.8 × 2\.5 mm"
    with pytest.warns(UserWarning, match=text):
        prediction = threshold().predict(path)
    assert len(prediction.notes) == 1


def test_spacing_is_compared_along_the_same_body_axis(tiny_nifti: NiftiFactory, voxels: np.ndarray) -> None:
    affine = np.diag([2.5, 0.8, 0.8, 1.0])
    affine[:, :3] = affine[:, [2, 1, 0]]  # stored as z, y, x: 0.8 mm, 0.8 mm, 2.5 mm, but x is the coarse one
    path = tiny_nifti("other.nii.gz", voxels, affine)
    with pytest.warns(UserWarning, match=r"voxels of 2\.5 × 0\.8 × 0\.8 mm are up to 3\.1 times off"):
        threshold().predict(path)


@pytest.mark.parametrize("mm", [5.0, 1.25])
def test_spacing_within_a_factor_of_two_is_no_news(
    tiny_nifti: NiftiFactory, voxels: np.ndarray, mm: float
) -> None:
    path = tiny_nifti("near.nii.gz", voxels, np.diag([0.8, 0.8, mm, 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threshold().predict(path)


class Hungry(Threshold):
    """Has memory for so many tiles; an accelerator whose lack of memory can be tested anywhere."""

    def __init__(self, tiles: int) -> None:
        super().__init__()
        self.tiles = tiles

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.tiles:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return super().forward(x)


@pytest.mark.parametrize(("tiles", "words"), [(2, "2 tiles at a time"), (1, "one tile at a time")])
def test_less_memory_means_smaller_batches_the_same_labels_and_a_word_about_it(
    voxels: np.ndarray, tiles: int, words: str
) -> None:
    predictor = Predictor([Hungry(tiles)], [tiny_plan(**MINE, patch_size=(4, 4, 4))], device="cpu")
    with pytest.warns(UserWarning, match=f"memory: memory ran short; went on with {words} on the CPU"):
        prediction = predictor.predict(voxels, spacing_mm=(0.8, 0.8, 2.5))
    np.testing.assert_array_equal(prediction.labels, voxels > 100)
    assert prediction.byte_plan is not None
    assert prediction.byte_plan.way.tile_batch == tiles


def test_where_no_tile_fits_the_remedy_is_said(voxels: np.ndarray) -> None:
    predictor = Predictor([Hungry(tiles=0)], [tiny_plan(**MINE)], device="cpu")
    with pytest.raises(MedconvError, match="not enough even with one tile at a time on the CPU: CUDA"):
        predictor.predict(voxels, spacing_mm=(0.8, 0.8, 2.5))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("x", "spacing_mm", "error", "text"),
    [
        (np.zeros((4, 4, 4)), None, ConfigError, r"expected spacing_mm with an array, e\.g\."),
        ("scan.nii.gz", (1, 1, 1), ConfigError, "spacing_mm is for arrays; a str carries its own"),
        (3.5, None, ConfigError, "expected a path, several paths, a nibabel image, or an array.*got float"),
        ([1, 2], None, ConfigError, "got list"),
        (np.zeros((2, 4, 4, 4)), (1, 1, 1), BadImageError, r"expected 1 channel\(s\)( \(T1\))?, got 2"),
        (np.zeros((4, 4, 4)), (1, 0, 1), GeometryError, "positive"),
        (np.full((4, 4, 4), np.nan), (1, 1, 1), BadImageError, "NaN"),
        ("no/such.nii.gz", None, BadImageError, r"no/such\.nii\.gz"),
        (["a.nii", "b.nii"], None, BadImageError, "expected 1 image file"),
    ],
)
def test_what_is_no_volume_is_refused(x: Any, spacing_mm: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        threshold().predict(x, spacing_mm=spacing_mm)


# ---------------------------------------------------------------- from checkpoints


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("folds")
    return [save_checkpoint(folder / f"fold_{seed}.ckpt", seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def alone(folds: list[Path]) -> list[Predictor]:
    return [load(fold, device="cpu") for fold in folds]


def test_a_checkpoint_is_a_predictor(alone: list[Predictor], scan: Path) -> None:
    assert isinstance(alone[0], Predictor)
    assert alone[0].label_names == {0: "background", 1: "head", 2: "tail"}
    labels = alone[0].predict(scan).labels
    assert labels.shape == (9, 8, 7)
    assert len(np.unique(labels)) > 1
    np.testing.assert_array_equal(alone[0].predict(scan).labels, labels)


def test_several_checkpoints_are_an_ensemble(folds: list[Path], alone: list[Predictor], scan: Path) -> None:
    both = load(*folds, device="cpu").predict(scan).labels
    assert all((both != one.predict(scan).labels).any() for one in alone)


def test_a_network_beside_its_copy_decides_as_it_does_alone(alone: list[Predictor], scan: Path) -> None:
    network = alone[0].engine.members[0].network
    pair = Predictor([network, network], [tiny_plan()] * 2, device="cpu")
    np.testing.assert_array_equal(pair.predict(scan).labels, alone[0].predict(scan).labels)


def test_networks_of_other_plans_are_refused() -> None:
    plans = [tiny_plan(**MINE), tiny_plan(**MINE, spacing_mm=(1.0, 1.0, 1.0))]
    with pytest.raises(ConfigError, match="checkpoints 1 and 2 differ in spacing_mm"):
        Predictor([Threshold(), Threshold()], plans, device="cpu")


def test_threads_share_a_predictor(
    alone: list[Predictor], tiny_nifti: NiftiFactory, rng: np.random.Generator
) -> None:
    scans = [tiny_nifti(f"{n}.nii", rng.normal(size=(9, 8, 7)).astype(np.float32)) for n in range(4)]
    one_by_one = [alone[0].predict(scan).labels for scan in scans]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda scan: alone[0].predict(scan).labels, scans))
    for labels, expected in zip(together, one_by_one, strict=True):
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.slow
def test_inference_needs_no_lightning() -> None:
    names = "{'lightning', 'pytorch_lightning', 'lightning_fabric'}"
    code = f"import sys, medconv; medconv.load; print(sorted({names} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32"])
def test_a_gpu_labels_as_the_processor_does(folds: list[Path], scan: Path, precision: Any) -> None:
    on_cpu = load(folds[0], device="cpu").predict(scan).labels
    on_gpu = load(folds[0], device="cuda", precision=precision).predict(scan).labels
    assert (on_cpu == on_gpu).mean() > 0.95


@pytest.mark.gpu
def test_gathering_on_the_processor_gives_the_same_scores(folds: list[Path], scan: Path) -> None:
    predictor = load(folds[0], device="cuda", precision="fp32")
    volume = read_volume(scan)
    ways = ways_down(predictor.device, 4)
    results = [predictor.engine.labels(volume, way, Stopwatch()) for way in ways]
    assert [way.gather.type for way in ways] == ["cuda", "cpu", "cpu", "cpu", "cpu"]
    for other in results[1:]:
        assert (other == results[0]).mean() > 0.99


# ---------------------------------------------------------------- zeros around a scan


@pytest.mark.parametrize("is_masked", [False, True])
def test_zeros_around_a_scan_change_no_label_inside_and_get_none(tmp_path: Path, is_masked: bool) -> None:
    plan = tiny_plan(crop_to_nonzero=True, masked_normalization=is_masked)
    predictor = load(save_checkpoint(tmp_path / "best.ckpt", plan=plan), device="cpu")
    data = np.random.default_rng(5).normal(50, 9, (18, 14, 9)).astype(np.float32)
    widths = [(3, 7), (0, 2), (5, 0)]
    wide, spacing_mm = np.pad(data, widths), (0.8, 0.8, 2.5)
    inside = (slice(3, 21), slice(0, 14), slice(5, 14))
    expected = predictor.predict(data, probabilities=True, spacing_mm=spacing_mm)
    got = predictor.predict(wide, probabilities=True, spacing_mm=spacing_mm)
    assert len(np.unique(expected.labels)) > 1
    np.testing.assert_array_equal(got.labels[inside], expected.labels)
    assert got.labels.shape == wide.shape
    assert got.labels.sum() == expected.labels.sum()
    assert got.probabilities is not None
    np.testing.assert_array_equal(got.probabilities[:, *inside], expected.probabilities)
    assert float(got.probabilities[0, 0, 0, 0]) == 1
