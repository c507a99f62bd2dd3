"""Folders of images: two axes, percentiles, numbered objects, groups, mixed sizes and bits, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from medconv.datamodules import DemoDataModule, MicroscopyDataModule
from medconv.errors import ConfigError, DatasetError
from medconv.planning import InstanceTarget
from medconv.training.build import build_data

SIZES = [(40, 56), (48, 32), (64, 64), (20, 24), (40, 40)]


def scene(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two discs, the second one numbered 700, in noise; 12-bit intensities."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    label = np.zeros(shape, np.uint16)
    label[np.hypot(y - shape[0] * 0.4, x - shape[1] * 0.3) < 6] = 7
    label[np.hypot(y - shape[0] * 0.6, x - shape[1] * 0.7) < 5] = 700
    return (rng.normal(300, 40, shape) + 900 * (label > 0)).clip(0, 4095), label


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (tmp_path / "cells" / folder).mkdir(parents=True)
    for number, shape in enumerate(SIZES):
        image, label = scene(rng, shape)
        bits = image.astype(np.uint16) if number % 2 else (image / 16).astype(np.uint8)
        Image.fromarray(bits).save(tmp_path / f"cells/images/s_{number}.png")
        Image.fromarray(label).save(tmp_path / f"cells/labels/s_{number}.png")
    return tmp_path / "cells"


def module(root: Path, **changes: Any) -> MicroscopyDataModule:
    settings = {"patch_size": [32, 32], "steps_per_epoch": 2, "num_workers": 0, "labels": "instance"}
    return MicroscopyDataModule(root, cache_dir=root.parent / "cache", **(settings | changes))


def ready(root: Path, **changes: Any) -> MicroscopyDataModule:
    data = module(root, **changes)
    data.prepare_data()
    data.setup("fit")
    return data


def test_the_plan_of_single_images(root: Path) -> None:
    data = module(root, label_names=["nucleus"])
    data.prepare_plan()
    plan = data.plan
    assert (plan.spatial_dims, plan.orientation, plan.unit, plan.spacing_mm) == (
        2,
        "native",
        "px",
        (1.0, 1.0),
    )
    assert plan.normalization == ("range",)
    assert plan.instances is not None
    assert plan.declared.names == {0: "background", 1: "nucleus"}


def test_training_batches_of_mixed_sizes_and_bits_smaller_than_the_patch_too(root: Path) -> None:
    data = ready(root, batch_size=4)
    for batch in data.train_dataloader():
        assert batch["image"].shape == batch["label"].shape == (4, 1, 32, 32)
        assert set(batch["label"].unique().tolist()) <= set(range(data.plan.num_labels))


def test_eight_and_sixteen_bits_come_out_alike(root: Path) -> None:
    fine = np.asarray(Image.open(root / "images/s_1.png"))
    for name, bits in (("a", fine), ("b", (fine / 16).round().astype(np.uint8))):
        Image.fromarray(bits).save(root / f"images/{name}.png")
        Image.open(root / "labels/s_1.png").save(root / f"labels/{name}.png")
    data = ready(root)
    a, b = (data.training_set.cache.open(case).image for case in data.dataset.cases[:2])
    assert np.abs(a - b).max() < 0.1
    assert np.abs(a).max() > 1


def test_validation_keeps_the_numbers_of_the_objects(root: Path) -> None:
    data = ready(root, val_fraction=0.4)
    for case in data.val_dataloader():
        assert set(np.unique(case["label"])) == {0, 7, 700}
        assert case["label"].shape[2] == 1


def test_empty_label_images_train_and_masks_of_255_are_labels(root: Path) -> None:
    for number, shape in enumerate(SIZES):
        mask = np.zeros(shape, np.uint8)
        mask[4:12, 4:12] = 255 * (number > 0)  # the first one is empty
        Image.fromarray(mask).save(root / f"labels/s_{number}.png")
    with pytest.warns(UserWarning, match="0 and 255"):
        data = ready(root, labels="semantic", label_names=["inside"])
    assert data.plan.num_classes == 2
    opened = [data.training_set.cache.open(case) for case in data.dataset.cases]
    assert [sorted(case.locations) for case in opened] == [[], [1], [1], [1], [1]]
    assert len(list(data.train_dataloader())) == 2


def test_inside_and_rim_are_chosen_in_a_configuration(root: Path) -> None:
    settings = {"root": str(root), "labels": "instance", "label_names": ["cell"], "patch_size": [32, 32]}
    settings |= {"cache_dir": str(root.parent / "cache"), "num_workers": 0, "steps_per_epoch": 1}
    chosen = {"instances": {"kind": "boundary", "width_vox": 1.5}}
    data = build_data({"class_path": "MicroscopyDataModule", "init_args": settings | chosen})
    data.prepare_data()
    data.setup("fit")
    assert data.plan.instances == InstanceTarget("boundary", width_vox=1.5, name="cell")
    assert data.plan.label_names == {0: "background", 1: "cell inside", 2: "cell rim"}
    assert (data.plan.num_classes, data.plan.regions) == (3, {})
    opened = data.training_set.cache.open(data.dataset.cases[0])
    assert sorted(opened.locations) == [1, 2]
    assert set(np.unique(opened.native_label)) == {0, 7, 700}
    shells = build_data({"class_path": "MicroscopyDataModule", "init_args": settings})
    shells.prepare_data()
    shells.setup("fit")  # in the same folder of prepared images
    assert sorted(shells.training_set.cache.open(shells.dataset.cases[0]).locations) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instances": InstanceTarget(name="cell")}, r"instances.name: .* give label_names=\[cell\]"),
        (
            {"instances": InstanceTarget(), "labels": "semantic", "label_names": ["cell"]},
            "instances: expected label maps that number objects, but .* declares labels; leave it out",
        ),
    ],
)
def test_a_target_that_nobody_would_follow_is_refused(
    root: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        module(root, **changes).prepare_plan()


def test_a_target_goes_together_with_that_of_a_plan_file(root: Path, tmp_path: Path) -> None:
    rim = InstanceTarget("boundary", width_vox=1)
    data = module(root, instances=rim)
    data.prepare_plan()
    data.proposal.save(tmp_path / "plan.yaml")
    for same in (rim, None):
        again = module(root, plan=tmp_path / "plan.yaml", instances=same)
        again.prepare_plan()
        assert again.plan == data.plan
    with pytest.raises(
        ConfigError, match=r"instances={'kind': 'distance'.* contradicts .*plan.yaml, which says"
    ):
        module(root, plan=tmp_path / "plan.yaml", instances=InstanceTarget()).prepare_plan()


def test_labels_that_number_objects_are_no_labels(root: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"(?s)5 case\(s\) cannot be used.*expected only the labels \[0, 1\]"
    ):
        ready(root, labels="semantic", label_names=["nucleus"])
    with pytest.raises(DatasetError, match="or --labels instance where each object has a number of its own"):
        module(root, labels=None).prepare_plan()


def test_groups_by_pattern_stay_together(root: Path) -> None:
    for fold in range(2):
        data = module(root, group_pattern="s_([01])|s_[234]", num_folds=2, fold=fold)
        data.prepare_plan()
        groups = [case.group for case in data.dataset.cases]
        split = data.split()
        assert not {groups[i] for i in split.train} & {groups[i] for i in split.validation}


def test_a_stated_pixel_size_is_the_spacing(root: Path) -> None:
    data = module(root, pixel_size_um=0.5)
    data.prepare_plan()
    assert data.plan.unit == "mm"
    assert data.plan.spacing_mm == pytest.approx((0.0005, 0.0005))
    with pytest.raises(ConfigError, match="pixel size: expected one number of µm"):
        module(root, pixel_size_um=-1.0)


def test_images_of_known_and_of_unknown_pixel_size_do_not_go_together(root: Path) -> None:
    image = np.asarray(Image.open(root / "images/s_2.png"))
    (root / "images/s_2.png").unlink()
    micron = {"unit": "um", "axes": "YX"}
    tifffile.imwrite(root / "images/s_2.tif", image, imagej=True, resolution=(2, 2), metadata=micron)
    with pytest.raises(ConfigError, match=r"4 of 5 cases do not say how large a pixel is.*pixel_size_um"):
        module(root).prepare_plan()
    data = module(root, pixel_size_um=0.5)
    data.prepare_plan()
    assert data.plan.spacing_mm == pytest.approx((0.0005, 0.0005))


def test_stacks_are_volumes_with_slices_last(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        image, label = (np.stack([part] * 6) for part in scene(rng, (40, 48)))
        tifffile.imwrite(tmp_path / f"images/{number}.tif", image.astype(np.uint16))
        tifffile.imwrite(tmp_path / f"labels/{number}.tif", label)
    data = MicroscopyDataModule(
        tmp_path,
        labels="instance",
        axes="ZYX",
        pixel_size_um=[0.5, 0.5, 2.0],
        patch_size=[32, 32, 4],
        batch_size=2,
        steps_per_epoch=1,
        num_workers=0,
        cache_dir=tmp_path / "cache",
    )
    data.prepare_data()
    data.setup("fit")
    assert (data.plan.orientation, data.plan.spacing_mm) == ("native", pytest.approx((0.0005, 0.0005, 0.002)))
    (batch,) = data.train_dataloader()
    assert batch["image"].shape == (2, 1, 32, 32, 4)
    assert data.training_set.cache.open(data.dataset.cases[0]).image.shape == (1, 40, 48, 6)


def test_volumes_are_for_another_module(tiny_dataset: Path, tmp_path: Path) -> None:
    data = MicroscopyDataModule(tiny_dataset, cache_dir=tmp_path)
    with pytest.raises(
        DatasetError, match=r"expected microscopy images .* got tiny_000.nii.gz; NiftiDataModule"
    ):
        data.prepare_plan()


def test_every_setting_can_be_given_in_a_configuration(root: Path) -> None:
    settings = {
        "root": str(root),
        "labels": "instance",
        "label_names": ["cell"],
        "pixel_size_um": [0.5, 0.5],
        "channels": [0],
        "axes": "YX",
        "group_pattern": "s_.",
    }
    data = build_data({"class_path": "MicroscopyDataModule", "init_args": settings})
    data.prepare_plan()
    assert data.plan.declared.names == {0: "background", 1: "cell"}
    assert data.plan.unit == "mm"


def test_the_demo_of_cells_is_a_dataset_of_known_pixel_size(tmp_path: Path) -> None:
    data = DemoDataModule(
        tmp_path / "demo", flavour="microscopy", num_cases=3, num_test_cases=1, patch_size=[64, 64]
    )
    data.prepare_data()
    data.setup("fit")
    assert data.plan.spacing_mm == pytest.approx((0.00065, 0.00065))
    assert data.plan.channel_names == ("fluorescence",)
    assert data.plan.declared.instances
    assert [case.case_id for case in data.find_test_cases()] == ["demo_003"]
    assert data.example_images == tmp_path / "demo/imagesTs"
    (case,) = data.test_dataloader()
    assert case["label"].max() > 15
    with pytest.raises(ConfigError, match="expected flavour volumes or microscopy, got 'cells'"):
        DemoDataModule(tmp_path, flavour="cells")  # type: ignore[arg-type]


def test_real_nuclei_are_planned_as_nnunet_plans_them(real_data: Path, tmp_path: Path) -> None:
    """Patch and stages of nnU-Net for images of 256²; its batch for 670 of them is 34, 5 % of all pixels."""
    data = MicroscopyDataModule(real_data / "nuclei", labels="instance", cache_dir=tmp_path)
    data.prepare_plan()
    assert data.plan.patch_size == (256, 256)
    assert data.proposal is not None
    assert len(data.proposal.network.channels) == 7
    assert data.batch_size == 10


def test_real_membranes_divide_by_blocks_of_slices(real_data: Path, tmp_path: Path) -> None:
    settings = {"labels": "semantic", "label_names": ["membrane"], "group_pattern": r"slice_(\d)"}
    sizes = []
    for fold in range(3):
        data = MicroscopyDataModule(
            real_data / "membrane", cache_dir=tmp_path, num_folds=3, fold=fold, **settings
        )
        data.prepare_plan()
        sizes.append(len(data.split().validation))
        assert len({data.dataset.cases[i].group for i in data.split().validation}) == 1
    assert sorted(sizes) == [6, 7, 7]
