from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import nibabel as nib
import numpy as np
import pytest
from conftest import save_nifti
from monai.bundle import ConfigParser
from tiny_checkpoint import SPEC, save_checkpoint, tiny_plan

import medconv
from medconv.errors import ConfigError
from medconv.export import Statement
from medconv.export.bundle import write_bundle
from medconv.inference import read_checkpoint
from medconv.planning import Intensity

pytestmark = [
    # MONAI's, where a package for GPUs is absent; and PyTorch's, about what MONAI and ignite use
    pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader"),
    pytest.mark.filterwarnings("ignore:`torch.jit.\\w+` is deprecated"),
]

NiftiFactory = Callable[..., Path]

# what MONAI's schema of 2024-07-25 requires, in the words of its documentation
TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    "properties": {
        "num_channels": {"type": "integer"},
        "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
}
TENSORS = {"type": "object", "minProperties": 1, "additionalProperties": TENSOR}
TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description")
TEXTS += (
    "authors",
    "copyright",
    "data_type",
    "image_classes",
    "label_classes",
    "pred_classes",
    "intended_use",
)
OBJECTS = ("changelog", "required_packages_version", "eval_metrics", "supported_apps")
SCHEMA = {
    "type": "object",
    "required": [*TEXTS[:9], "required_packages_version", "network_data_format"],
    "properties": {
        **{name: {"type": "string", "minLength": 1} for name in TEXTS},
        **{name: {"type": "object"} for name in OBJECTS},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {"inputs": TENSORS, "outputs": TENSORS},
        },
    },
}
# from MONAI Label, monailabel/tasks/infer/bundle.py: what it looks for in a bundle
LABEL_KEYS = {"bundle_root", "device", "network_def", "preprocessing", "postprocessing", "inferer"}


def bundle_of(checkpoint: Path, folder: Path, **statement: str) -> Path:
    read = read_checkpoint(checkpoint)
    write_bundle(read, read.build(), folder, Statement("tiny", **statement), {})
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return bundle_of(
        save_checkpoint(folder / "best.ckpt"), folder / "bundle", licence="CC0", authors="A. N. Other"
    )


def config(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "configs/inference.json").read_text())


def metadata(bundle: Path) -> dict[str, Any]:
    return json.loads((bundle / "configs/metadata.json").read_text())


def test_metadata_has_what_the_schema_asks_for(bundle: Path) -> None:
    told = metadata(bundle)
    jsonschema.validate(told, SCHEMA)
    outputs = told["network_data_format"]["outputs"]["pred"]
    assert outputs["channel_def"] == {"0": "background", "1": "head", "2": "tail"}
    assert told["copyright"] == "CC0"
    assert "A. N. Other" in told["authors"]
    assert (bundle / "LICENSE").read_text() == "CC0\n"


def test_it_has_the_layout_that_monai_label_reads(bundle: Path) -> None:
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    # model.pt would make MONAI Label build the network from source
    assert files == {"configs/inference.json", "configs/metadata.json", "models/model.ts", "LICENSE"}
    assert set(config(bundle)) >= LABEL_KEYS
    assert "medconv" not in (bundle / "configs/inference.json").read_text()
    parser = ConfigParser(config(bundle) | {"bundle_root": str(bundle)})
    names = [type(step).__name__ for step in parser.get_parsed_content("preprocessing").transforms]
    assert names == ["LoadImaged", "Orientationd", "NormalizeIntensityd", "Spacingd"]
    assert [type(t).__name__ for t in parser.get_parsed_content("postprocessing").transforms][
        -1
    ] == "SaveImaged"


CHECKS = """
import sys
from monai.bundle import ConfigWorkflow, verify_net_in_out
root, config_file, meta_file = sys.argv[1:]
places = {"config_file": config_file, "meta_file": meta_file, "bundle_root": root}
workflow = ConfigWorkflow(workflow_type="infer", logging_file=False, **places)
workflow.initialize()
assert not workflow.check_properties()
verify_net_in_out(net_id="network_def", device="cpu", **places)
"""


@pytest.mark.slow
def test_monai_finds_every_property_and_the_network_fits_its_metadata(bundle: Path) -> None:
    files = [bundle, bundle / "configs/inference.json", bundle / "configs/metadata.json"]
    # in a process of its own: where warnings are errors, MONAI's engine cannot be imported
    done = subprocess.run(
        [sys.executable, "-c", CHECKS, *map(str, files)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def monai_masks(bundle: Path, scans: Path, out: Path) -> dict[str, np.ndarray]:
    """What MONAI's own command writes, in a process that cannot import medconv."""
    blocked = out.parent / "blocked"
    blocked.mkdir(exist_ok=True)
    (blocked / "medconv.py").write_text("raise ImportError('a bundle must not need medconv')\n")
    words = ["run", "--config_file", bundle / "configs/inference.json", "--bundle_root", bundle]
    words += ["--meta_file", bundle / "configs/metadata.json", "--dataset_dir", scans, "--output_dir", out]
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(blocked)},
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: np.asarray(nib.load(path).dataobj) for path in sorted(out.glob("*.nii.gz"))}


@pytest.mark.slow
def test_monais_own_command_labels_as_medconv_does(
    bundle: Path, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    # one tile, and several: MONAI gives no voxel of a tile a weight below 1/1000, which shows where tiles meet
    shares = {(12, 12, 8): 0.999, (24, 18, 12): 0.8}
    scans = [
        tiny_nifti(f"scans/{name}.nii.gz", rng.normal(50, 9, shape).astype(np.float32))
        for name, shape in zip("ab", shares, strict=True)
    ]
    masks = monai_masks(bundle, tmp_path / "scans", tmp_path / "masks")
    predictor = medconv.load(bundle.parent / "best.ckpt", device="cpu")
    assert set(masks) == {"a.nii.gz", "b.nii.gz"}
    for scan in scans:
        own = predictor.predict(scan).labels
        assert masks[scan.name].dtype == np.uint8
        assert len(np.unique(own)) > 1
        assert (masks[scan.name] == own).mean() > shares[own.shape]
        np.testing.assert_allclose(
            nib.load(tmp_path / "masks" / scan.name).affine, nib.load(scan).affine, atol=1e-4
        )


@pytest.mark.slow
def test_zeros_around_a_scan_are_cropped_and_filled_with_background(
    tmp_path: Path, tiny_nifti: NiftiFactory
) -> None:
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", plan=tiny_plan(crop_to_nonzero=True))
    bundle = bundle_of(checkpoint, tmp_path / "bundle")
    data = np.random.default_rng(4).normal(50, 9, (12, 12, 8)).astype(np.float32)
    scan = tiny_nifti("scans/a.nii.gz", np.pad(data, [(3, 9), (0, 4), (2, 5)]))
    (mask,) = monai_masks(bundle, tmp_path / "scans", tmp_path / "masks").values()
    own = medconv.load(checkpoint, device="cpu").predict(scan).labels
    assert len(np.unique(own)) > 1
    assert mask.shape == own.shape
    assert (mask == own).mean() > 0.999


def test_a_mask_of_intensities_is_refused_with_other_formats(tmp_path: Path) -> None:
    plan = tiny_plan(crop_to_nonzero=True, masked_normalization=True)
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", plan=plan)
    with pytest.raises(
        ConfigError, match=r"^a MONAI bundle has no words for intensities .* torch, onnx or safe"
    ):
        bundle_of(checkpoint, tmp_path / "bundle")


@pytest.mark.slow
def test_each_channel_is_scaled_in_its_own_way(tmp_path: Path, oblique_affine: np.ndarray) -> None:
    plan = tiny_plan(
        channel_names=("CT", "MR", "map", "DAPI"),
        normalization=("ct", "percentile", "none", "range"),
        intensity=(Intensity(-100.0, 300.0, 80.0, 60.0), None, None, None),
    )
    spec = {"class_path": "UNet", "init_args": SPEC["init_args"] | {"in_channels": 4}}
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", spec=spec, plan=plan)
    bundle = bundle_of(checkpoint, tmp_path / "bundle")
    rng = np.random.default_rng(2)
    data = [rng.normal(80, 200, (12, 11, 8)), rng.gamma(1, 50, (12, 11, 8)), rng.normal(0, 1, (12, 11, 8))]
    data.append(rng.gamma(2, 9, (12, 11, 8)))
    files = [
        save_nifti(tmp_path / f"scans/x_{c:04d}.nii.gz", d.astype(np.float32), oblique_affine)
        for c, d in enumerate(data)
    ]
    (mask,) = monai_masks(bundle, tmp_path / "scans", tmp_path / "masks").values()
    own = medconv.load(checkpoint, device="cpu").predict(files).labels
    assert len(np.unique(own)) > 1
    assert (mask == own).mean() > 0.999


@pytest.mark.slow
def test_a_2d_network_labels_slices(tmp_path: Path) -> None:
    plan = tiny_plan(
        spatial_dims=2,
        spacing_mm=(0.5, 0.5),
        patch_size=(16, 16),
        orientation="native",
        normalization=("zscore",),
    )
    spec = {"class_path": "UNet", "init_args": SPEC["init_args"] | {"spatial_dims": 2}}
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", spec=spec, plan=plan)
    bundle = bundle_of(checkpoint, tmp_path / "bundle")
    image = np.random.default_rng(3).normal(0, 1, (16, 14, 1)).astype(np.float32)
    scan = save_nifti(tmp_path / "scans/x.nii.gz", image, np.diag([0.5, 0.5, 1.0, 1.0]))
    (mask,) = monai_masks(bundle, tmp_path / "scans", tmp_path / "masks").values()
    own = medconv.load(checkpoint, device="cpu").predict(scan).labels
    assert len(np.unique(own)) > 1
    assert (mask.reshape(own.shape) == own).mean() > 0.999


def test_a_kernel_for_each_image_gets_one_tile_at_a_time(tmp_path: Path) -> None:
    spec = {"class_path": "UNet", "init_args": SPEC["init_args"] | {"conv": "DynamicConv"}}
    bundle = bundle_of(save_checkpoint(tmp_path / "best.ckpt", spec=spec), tmp_path / "bundle")
    assert config(bundle)["inferer"]["sw_batch_size"] == 1
