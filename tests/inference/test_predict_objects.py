"""From an image to numbered objects, with networks that say exactly what they were made to say."""

import threading

import numpy as np
import pytest
import torch
from object_scenes import ellipsoids, is_renumbered
from test_separation import perfect_fields
from torch import nn

from medconv.errors import ConfigError
from medconv.inference import (
    Postprocessing,
    Predictor,
    Rule,
    Separation,
    collect_inputs,
    plan_outputs,
    predict_cases,
    separate,
)
from medconv.inference.statistics import measure_structures
from medconv.io import reader_for, volume_from_array
from medconv.io.microscopy.raster_write import write_png
from medconv.planning import InstanceTarget, Plan
from medconv.transforms import instance_labels

TARGET = InstanceTarget(name="nucleus")


class Says(nn.Module):
    """Reads the label that it is to tell of each voxel from the image."""

    def __init__(self, target):
        super().__init__()
        self.target = target

    def forward(self, x):
        if self.target.kind == "boundary":
            return torch.cat([-((x - label) ** 2) * 40 for label in range(3)], dim=1)
        return torch.cat([(x - shell + 0.5) * 40 for shell in range(1, self.target.levels + 1)], dim=1)


def plan_of(target, dims=2, spacing=(1.0, 1.0, 1.0), **changes):
    values = {
        "spatial_dims": dims,
        "channel_names": ("labels",),
        "spacing_mm": spacing[:dims],
        "patch_size": (24, 16, 8)[:dims],
        "normalization": ("none",),
        "orientation": "native",
        **target.plan_values(),
    }
    return Plan(**(values | changes))


def predictor_of(target, dims=2, **settings):
    return Predictor([Says(target)], [plan_of(target, dims)], device="cpu", **settings)


def image_of(objects, target):
    return instance_labels(objects, target, (1.0,) * objects.ndim).astype(np.float32)


@pytest.mark.parametrize("target", [TARGET, InstanceTarget("boundary")], ids=str)
@pytest.mark.parametrize("dims", [2, 3])
def test_objects_come_back_through_the_window(target, dims):
    shape = (70, 50) if dims == 2 else (20, 30, 26)
    objects = ellipsoids(np.random.default_rng(3), shape, 14, (4, 8))
    prediction = predictor_of(target, dims).predict(image_of(objects, target), spacing_mm=(1.0,) * dims)
    assert prediction.labels.shape == shape
    assert prediction.has_objects
    assert is_renumbered(prediction.labels, separate(perfect_fields(objects, target)))
    assert prediction.num_objects == len(np.unique(objects)) - 1
    assert prediction.labels.dtype == np.uint8


def test_what_is_said_of_classes_speaks_of_all_objects_together():
    objects = ellipsoids(np.random.default_rng(1), (40, 40), 5, (4, 8))
    predictor = predictor_of(TARGET)
    prediction = predictor.predict(
        image_of(objects, TARGET)[..., None], spacing_mm=(1.0, 1.0, 1.0), probabilities=True
    )
    assert prediction.label_names == predictor.label_names == {0: "background", 1: "nucleus"}
    assert np.array_equal(prediction.class_labels[..., 0], objects > 0)
    assert prediction.volumes_ml == {"nucleus": (objects > 0).sum() / 1000}
    assert prediction.probabilities.shape == (5, 40, 40, 1)
    rows = measure_structures(prediction.class_labels, prediction.volume, prediction.label_names)
    assert [row.voxels for row in rows] == [(objects > 0).sum()]


def test_fields_are_resampled_to_the_stored_grid():
    objects = ellipsoids(np.random.default_rng(2), (30, 24), 5, (4, 7))
    fine = np.kron(image_of(objects, TARGET), np.ones((2, 2), np.float32))
    predictor = predictor_of(TARGET)
    prediction = predictor.predict(fine, spacing_mm=(0.5, 0.5))
    assert prediction.labels.shape == (60, 48)
    assert prediction.num_objects == len(np.unique(objects)) - 1


def test_thresholds_are_those_of_the_postprocessing():
    objects = np.zeros((40, 40), int)
    objects[2:20, 2:20], objects[30:33, 30:33] = 1, 2
    image = image_of(objects, TARGET)
    large = predictor_of(TARGET, postprocessing=Postprocessing(separation=Separation(min_voxels=10)))
    assert predictor_of(TARGET).predict(image, spacing_mm=(1.0, 1.0)).num_objects == 2
    assert large.predict(image, spacing_mm=(1.0, 1.0)).num_objects == 1


def test_postprocessing_of_the_other_kind_is_refused():
    with pytest.raises(
        ConfigError, match=r"expected thresholds of instances, .*, got rules for the labels \[1\]"
    ):
        predictor_of(TARGET, postprocessing=Postprocessing({1: Rule(fill_holes=True)}))
    plan = plan_of(
        TARGET, regions={}, regions_class_order=(), instances=None, label_names={0: "background", 1: "x"}
    )
    with pytest.raises(ConfigError, match=r"expected rules for the labels .*, got thresholds of instances"):
        Predictor(
            [Says(TARGET)], [plan], device="cpu", postprocessing=Postprocessing(separation=Separation())
        )
    with pytest.raises(ConfigError, match=r"expected rules by label or thresholds of instances, got both"):
        Postprocessing({1: Rule(fill_holes=True)}, Separation())


def test_fields_of_a_network_of_labels_are_refused():
    plan = plan_of(
        TARGET, regions={}, regions_class_order=(), instances=None, label_names={0: "background", 1: "x"}
    )
    predictor = Predictor([Says(TARGET)], [plan], device="cpu")
    with pytest.raises(
        ConfigError, match="expected networks that were taught single objects, got some of labels"
    ):
        predictor.fields(volume_from_array(np.zeros((4, 4, 1)), (1.0, 1.0, 1.0)))


def test_thresholds_survive_their_file(tmp_path):
    chosen = Postprocessing(separation=Separation(0.4, 0.6, 12))
    chosen.save(tmp_path / "post.yaml")
    assert Postprocessing.load(tmp_path / "post.yaml") == chosen


def test_saved_numbers_have_no_names(tmp_path):
    objects = ellipsoids(np.random.default_rng(5), (60, 60), 20, (3, 6))
    prediction = predictor_of(TARGET).predict(
        image_of(objects, TARGET)[..., None], spacing_mm=(1.0, 1.0, 1.0)
    )
    path = prediction.save(tmp_path / "mask.nii.gz")
    assert np.array_equal(reader_for(path).read_labels(path).data[0], prediction.labels)
    assert b"nucleus" not in prediction.to_nibabel().to_bytes()


def test_two_networks_answer_as_one():
    objects = ellipsoids(np.random.default_rng(6), (40, 40), 8, (4, 7))
    image = image_of(objects, TARGET)
    twice = Predictor([Says(TARGET)] * 2, [plan_of(TARGET)] * 2, device="cpu")
    assert np.array_equal(
        twice.predict(image, spacing_mm=(1.0, 1.0)).labels,
        predictor_of(TARGET).predict(image, spacing_mm=(1.0, 1.0)).labels,
    )


def test_memory_of_objects_is_reckoned():
    geometry = volume_from_array(np.zeros((4, 4, 1)), (1.0, 1.0, 1.0)).geometry
    voxels = 8_000 * 8_000
    planned = predictor_of(TARGET).byte_plan(geometry, (8_000, 8_000, 1))
    # the image, the two fields, and the map with its seeds
    assert planned.host_bytes - planned.held_bytes[0] > voxels * (4 + 4 + 8)


def test_objects_are_told_apart_by_who_writes_while_the_next_image_is_computed(tmp_path, monkeypatch):
    predictor = Predictor([Says(TARGET)], [plan_of(TARGET, unit="px")], device="cpu")
    names = [f"i{number}" for number in range(4)]
    for seed, name in enumerate(names):
        objects = ellipsoids(np.random.default_rng(seed), (40, 36), 6, (4, 7))
        write_png(tmp_path / f"{name}.png", image_of(objects, TARGET).astype(np.uint8))
    predict, threads, decide = predictor.predict, [], predictor.decide

    def spy(case):
        threads.append(threading.current_thread().name)
        return decide(case)

    monkeypatch.setattr(predictor, "decide", spy)
    cases = collect_inputs([tmp_path])
    jobs = zip(cases, plan_outputs(cases, tmp_path / "masks"), strict=True)
    results = list(predict_cases(predictor, jobs))
    assert [(result.case_id, result.status) for result in results] == [(name, "ok") for name in names]
    assert all("separate" in result.stages for result in results)
    assert len(threads) == 4
    assert all(name.startswith("medconv-write") for name in threads)
    for result in results:
        mask = reader_for(result.output).read_labels(result.output).data[0]
        np.testing.assert_array_equal(mask, predict(tmp_path / f"{result.case_id}.png").labels)


def test_what_networks_said_is_let_go_of_when_it_is_decided():
    predictor = predictor_of(TARGET)
    objects = ellipsoids(np.random.default_rng(0), (30, 30), 3, (4, 6))
    case = predictor.compute(volume_from_array(image_of(objects, TARGET)[..., None], (1.0, 1.0, 1.0)))
    assert case.said.shape == (2, 30, 30, 1)
    assert predictor.decide(case).num_objects == len(np.unique(objects)) - 1
    assert case.said is None
