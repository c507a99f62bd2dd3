"""Reading, turning and writing on real volumes; skipped where there are none."""

import nibabel as nib
import numpy as np

from medconv.io import discover, read_image, read_labels, reorient, undo_reorient, write_labels


def test_every_hippocampus_is_read_as_nibabel_reads_it_and_its_mask_survives(real_data, tmp_path):
    dataset = discover(real_data / "hippocampus")
    assert dataset.label_names == {0: "background", 1: "Anterior", 2: "Posterior"}
    assert len(dataset.cases) > 200
    for case in dataset.cases[::8]:
        image = read_image(case.images, channels=1)
        label = read_labels(case.label, allowed=dataset.label_names, like=image)
        stored = nib.load(case.images[0])
        assert np.array_equal(image.data[0], stored.get_fdata(dtype=np.float32))
        assert np.array_equal(image.geometry.affine, stored.affine)
        assert image.geometry.spacing_mm == (1.0, 1.0, 1.0)
        turned, geometry = reorient(label.data, label.geometry, "RAS")
        assert geometry.orientation == "RAS"
        back = undo_reorient(turned, label.geometry, "RAS")[0]
        write_labels(tmp_path / "mask.nii.gz", back, image, dataset.label_names)
        mask = nib.load(tmp_path / "mask.nii.gz")
        assert np.array_equal(mask.get_fdata(), nib.load(case.label).get_fdata())
        assert np.array_equal(mask.affine, stored.affine)
        assert mask.get_data_dtype() == np.uint8
