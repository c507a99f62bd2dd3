import numpy as np
import pytest
from object_scenes import ellipsoids
from test_separation import perfect_fields

from medconv.errors import DatasetError, ShapeError
from medconv.inference import Separation, separate
from medconv.inference.tune_separation import MASK_THRESHOLDS, SEED_THRESHOLDS, SeparationTuner
from medconv.metrics import panoptic_quality


def scenes(count=3):
    return [ellipsoids(np.random.default_rng(seed), (48, 48), 9, (4, 9)) for seed in range(count)]


def test_the_best_choice_is_that_of_a_plain_search():
    rng = np.random.default_rng(0)
    pairs = [
        (np.clip(perfect_fields(o) + rng.normal(scale=0.15, size=(2, *o.shape)), 0, 1), o) for o in scenes()
    ]
    tuner = SeparationTuner()
    for _, objects in pairs:
        tuner.see_reference(objects)
    for fields, objects in pairs:
        tuner.add(fields, objects)
    tuned = tuner.result()
    smallest = min(np.bincount(o.ravel())[1:][np.bincount(o.ravel())[1:] > 0].min() for _, o in pairs)

    def quality(choice):
        return np.mean([panoptic_quality(separate(f, choice), o).panoptic_quality for f, o in pairs])

    sizes = [1, int(smallest / 4), int(smallest / 2)]
    best = max(quality(Separation(m, s, n)) for m in MASK_THRESHOLDS for s in SEED_THRESHOLDS for n in sizes)
    assert tuned.after == pytest.approx(best) == pytest.approx(quality(tuned.separation))
    assert tuned.before == pytest.approx(quality(Separation()))
    assert (tuned.num_cases, tuned.after > tuned.before) == (3, True)


def test_nothing_is_changed_where_nothing_helps():
    tuner = SeparationTuner()
    objects = scenes(1)[0]
    tuner.see_reference(objects)
    tuner.add(perfect_fields(objects), objects)
    assert tuner.result().separation == Separation()


def test_inventing_nothing_in_an_empty_image_counts():
    tuner = SeparationTuner()
    nothing = np.zeros((8, 8), int)
    tuner.see_reference(nothing)
    faint = np.full((2, 8, 8), 0.75)
    tuner.add(faint, nothing)
    tuned = tuner.result()
    assert (tuned.before, tuned.after) == (0, 1)


def test_no_image_and_another_shape_are_refused():
    with pytest.raises(
        DatasetError, match="expected at least one validation image with a reference, got none"
    ):
        SeparationTuner().result()
    with pytest.raises(ShapeError, match=r"expected fields of the shape \(4, 4\), got \(5, 4\)"):
        SeparationTuner().add(np.zeros((2, 5, 4)), np.zeros((4, 4), int))
