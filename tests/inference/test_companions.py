from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_dicom import save_series

from medconv.errors import ConfigError, MedconvError
from medconv.inference import InputCase, Prediction
from medconv.inference.companions import Companion, Entropy, PerClass, Place, Probabilities, file_names
from medconv.inference.dicom_segmentation import DicomSegmentation, require_series
from medconv.inference.uncertainty import normalised_entropy, region_entropy
from medconv.io import read_image, read_labels, read_volume
from medconv.io.nifti import label_names_in_header

NiftiFactory = Callable[..., Path]
NAMES = {0: "background", 1: "left lung", 2: "Heart", 3: "heart"}
BESIDE, ALONE = Place(is_alone=False), Place(is_alone=True)


@pytest.fixture
def prediction(tiny_nifti: NiftiFactory, rng: np.random.Generator) -> Prediction:
    volume = read_volume(tiny_nifti("scan.nii.gz"))
    shares = rng.dirichlet(np.ones(4), volume.shape).transpose(3, 0, 1, 2).astype(np.float16)
    labels = (shares.argmax(0) % 3).astype(np.uint8)  # 3 is absent
    return Prediction(labels, volume, NAMES, {}, probabilities=shares)


def written(companion: Companion, prediction: Prediction, mask: Path) -> list[Path]:
    companion.write(prediction, mask)
    files = companion.files(mask)
    assert all(path.is_file() for path in files)
    return list(files)


def test_each_class_has_a_binary_mask_that_carries_its_name(prediction: Prediction, tmp_path: Path) -> None:
    paths = written(PerClass(BESIDE, NAMES), prediction, tmp_path / "out" / "a.nii")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == [
        "per_class/a/left_lung.nii",
        "per_class/a/Heart_2.nii",
        "per_class/a/heart_3.nii",
    ]
    for value, path in enumerate(paths, start=1):
        mask = read_labels(path, allowed=(0, 1), like=prediction.volume)
        assert np.array_equal(mask.data[0], prediction.labels == value)
        assert label_names_in_header(nib.load(path).header) == {0: "background", 1: NAMES[value]}
    assert not read_labels(paths[-1]).data.any()


def test_probabilities_and_entropy_lie_on_the_grid(prediction: Prediction, tmp_path: Path) -> None:
    assert prediction.probabilities is not None
    (path,) = written(Probabilities(ALONE), prediction, tmp_path / "m.nii.gz")
    assert path.name == "m_probabilities.nii.gz"
    np.testing.assert_allclose(read_volume(path, channels=4).data, prediction.probabilities, atol=1.6e-5)
    (path,) = written(Entropy(BESIDE), prediction, tmp_path / "m.nii.gz")
    assert path == tmp_path / "entropy" / "m.nii.gz"
    found = read_volume(path)
    np.testing.assert_allclose(found.data[0], normalised_entropy(prediction.probabilities), atol=1.6e-5)
    np.testing.assert_allclose(found.geometry.affine, prediction.geometry.affine, atol=1e-6)


def test_the_entropy_of_regions_is_that_of_yes_and_no(prediction: Prediction, tmp_path: Path) -> None:
    assert prediction.probabilities is not None
    regions = prediction.probabilities[1:]
    of_regions = replace(prediction, probabilities=regions, regions_class_order=(1, 2, 3))
    (path,) = written(Entropy(BESIDE), of_regions, tmp_path / "m.nii.gz")
    np.testing.assert_allclose(read_volume(path).data[0], region_entropy(regions), atol=1.6e-5)


def test_without_probabilities_the_message_says_how_to_get_them(
    prediction: Prediction, tmp_path: Path
) -> None:
    bare = Prediction(prediction.labels, prediction.volume, NAMES, {})
    for companion in (Probabilities(BESIDE), Entropy(BESIDE)):
        assert companion.needs_probabilities
        with pytest.raises(MedconvError, match=r"got one without; predict\(…, probabilities=True\)"):
            companion.write(bare, tmp_path / "m.nii")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({1: "../../etc/x", 2: "a b"}, {1: "etc_x", 2: "a_b"}),
        ({1: "...", 2: "?"}, {1: "label_1", 2: "label_2"}),
        ({1: "Lunge, größer"}, {1: "Lunge_größer"}),
        ({1: "lesion_2", 2: "lesion", 3: "Lesion"}, {1: "lesion_2", 2: "lesion_2_2", 3: "Lesion_3"}),
        ({1: "a_11", 2: "a_11", 11: "a", 12: "A"}, {1: "a_11_1", 2: "a_11_2", 11: "a_11", 12: "A_12"}),
        ({1: "a_1", 11: "a_1", 2: "a_1_11"}, {1: "a_1_1", 11: "a_1_11_11", 2: "a_1_11"}),
    ],
)
def test_names_of_labels_never_lead_out_of_the_folder(
    names: dict[int, str], expected: dict[int, str]
) -> None:
    assert file_names({0: "background", **names}) == expected


def test_a_dicom_segmentation_needs_a_series(prediction: Prediction, tmp_path: Path) -> None:
    series = save_series(tmp_path / "ct")
    volume = read_image([series])
    labels = (volume.data[0] > -900).astype(np.uint8)
    names = {0: "background", 1: "body"}
    (path,) = written(
        DicomSegmentation(BESIDE), Prediction(labels, volume, names, {}), tmp_path / "out" / "ct.nii.gz"
    )
    assert path == tmp_path / "out" / "dicom_seg" / "ct.dcm"
    with pytest.raises(ConfigError, match=r"scan\.nii\.gz: expected a DICOM series for a DICOM segmentation"):
        DicomSegmentation(BESIDE).write(prediction, tmp_path / "m.nii")
    require_series([InputCase("ct", (series,))])
    with pytest.raises(
        ConfigError, match=r"--dicom-seg: scan\.nii is no DICOM series, so there is no patient"
    ):
        require_series([InputCase("ct", (series,)), InputCase("scan", (Path("scan.nii"),))])
    (tmp_path / "cells.zarr").mkdir()
    with pytest.raises(ConfigError, match=r"cells\.zarr is no DICOM series"):
        require_series([InputCase("cells", (tmp_path / "cells.zarr",))])
