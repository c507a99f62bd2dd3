"""``inference.json`` of a MONAI bundle: the plan told in MONAI's transforms, so that a bundle runs without medconv."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medconv.inference.tiles import SIGMA_SHARE
from medconv.io.geometry import NATIVE
from medconv.planning import Intensity, Plan
from medconv.transforms.normalize import RANGE, RANGE_PERCENTILES

Config = dict[str, Any]

OVERLAP, TILE_BATCH = 0.5, 4


def inference_config(plan: Plan, takes_batches: bool) -> Config:
    """The configuration that ``python -m monai.bundle run`` and MONAI Label read.

    Reading, orientation and intensities are those of ``medconv predict``, and so are tiles, overlap and blend. A
    volume of another spacing is resampled by MONAI's ``Spacingd``: linear as ours, but without averaging where
    the grid becomes coarser, and on a grid that may differ by a voxel at the border.

    Args:
        plan: Of the network.
        takes_batches: Whether it takes several patches at once.
    """
    return {
        "imports": ["$import glob", "$import os", "$import numpy", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": _datalist(plan.in_channels),
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "torch.jit.load",
            "f": "$@bundle_root + '/models/model.ts'",
            "map_location": "@device",
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": _compose(_preprocessing(plan)),
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': files} for files in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": _inferer(plan, TILE_BATCH if takes_batches else 1),
        "postprocessing": _compose(_postprocessing(plan)),
        "handlers": [],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def _datalist(channels: int) -> str:
    """All volumes of the folder; with several channels the files of a case, numbered as nnU-Net does."""
    if channels == 1:
        return "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii*')))"
    first = "sorted(glob.glob(os.path.join(@dataset_dir, '*_0000.nii*')))"
    return f"$[[f.replace('_0000.nii', '_%04d.nii' % c) for c in range({channels})] for f in {first}]"


def _compose(transforms: list[Config]) -> Config:
    return {"_target_": "Compose", "transforms": transforms}


def _step(target: str, keys: str | list[str], /, **options: Any) -> Config:
    return {"_target_": target, "keys": keys, **options}


def _preprocessing(plan: Plan) -> list[Config]:
    steps = [_step("LoadImaged", "image", image_only=True, ensure_channel_first=True, dtype="$numpy.float32")]
    if plan.orientation != NATIVE:
        # labels: None, so that the space of a file in LPS is not guessed anew
        steps.append(_step("Orientationd", "image", axcodes=plan.orientation, labels=None))
    if plan.crop_to_nonzero:
        steps.append(
            _step(
                "CropForegroundd",
                "image",
                source_key="image",
                select_fn="$lambda x: x != 0",
                allow_smaller=True,
            )
        )
    steps += _normalization(plan)
    if plan.spatial_dims == 3:
        steps.append(
            _step("Spacingd", "image", pixdim=list(plan.spacing_mm), mode="bilinear", padding_mode="border")
        )
    else:
        # the third axis keeps its own spacing: slices are labelled one by one
        steps.append(
            _step(
                "Spacingd", "image", pixdim=[*plan.spacing_mm, -1.0], mode="bilinear", padding_mode="border"
            )
        )
    return steps


def _normalization(plan: Plan) -> list[Config]:
    """Each channel in its own way; several are taken apart and put together again."""
    kinds = list(zip(plan.normalization, plan.intensity, strict=True))
    if len(kinds) == 1:
        return _normalize("image", *kinds[0])
    keys = [f"image_{number}" for number in range(len(kinds))]
    numbers = [str(number) for number in range(len(kinds))]
    own = [step for key, kind in zip(keys, kinds, strict=True) for step in _normalize(key, *kind)]
    return [
        _step("SplitDimd", "image", output_postfixes=numbers, dim=0),
        *own,
        _step("ConcatItemsd", keys, name="image", dim=0),
        _step("DeleteItemsd", keys),
    ]


def _normalize(key: str, kind: str, intensity: Intensity | None) -> list[Config]:
    if kind == "none":
        return []
    if kind == "ct":
        assert intensity is not None, "a plan with 'ct' has intensities"
        low, high = ((value - intensity.mean) / intensity.std for value in (intensity.low, intensity.high))
        return [
            _step(
                "ScaleIntensityRanged",
                key,
                a_min=intensity.low,
                a_max=intensity.high,
                b_min=low,
                b_max=high,
                clip=True,
            )
        ]
    if kind == "range":
        (lower, upper), (b_min, b_max) = RANGE_PERCENTILES, RANGE
        scale = {"lower": lower, "upper": upper, "b_min": b_min, "b_max": b_max, "clip": True}
        return [_step("ScaleIntensityRangePercentilesd", key, **scale)]
    steps = [_step("NormalizeIntensityd", key)]
    if kind == "percentile":
        # a linear scale in between changes nothing: the mean and deviation are taken afterwards
        clip = _step(
            "ScaleIntensityRangePercentilesd", key, lower=0.5, upper=99.5, b_min=0.0, b_max=1.0, clip=True
        )
        steps.insert(0, clip)
    return steps


def _inferer(plan: Plan, tile_batch: int) -> Config:
    settings: Mapping[str, Any] = {
        "roi_size": list(plan.patch_size),
        "sw_batch_size": tile_batch,
        "overlap": OVERLAP,
        "mode": "gaussian",
        "sigma_scale": SIGMA_SHARE,
    }
    if plan.spatial_dims == 2:
        return {"_target_": "SliceInferer", "spatial_dim": 2, **settings}
    return {"_target_": "SlidingWindowInferer", **settings}


def _postprocessing(plan: Plan) -> list[Config]:
    dtype = "uint8" if plan.num_classes <= 256 else "uint16"
    return [
        # scores, not labels, are resampled: the largest of interpolated scores decides, as in medconv
        _step(
            "Invertd",
            "pred",
            transform="@preprocessing",
            orig_keys="image",
            nearest_interp=False,
            to_tensor=True,
        ),
        _step("AsDiscreted", "pred", argmax=True),
        _step(
            "SaveImaged",
            "pred",
            output_dir="@output_dir",
            output_postfix="",
            output_ext=".nii.gz",
            output_dtype=f"$numpy.{dtype}",
            resample=False,
            separate_folder=False,
        ),
    ]
