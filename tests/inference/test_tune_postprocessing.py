from __future__ import annotations

import numpy as np
import pytest

from medconv.errors import DatasetError, ShapeError
from medconv.inference import Postprocessing, PostprocessingTuner, Rule
from medconv.inference.tune_postprocessing import candidate_rules
from medconv.metrics import contingency


def case(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A reference cube and a prediction of it with one kind of fault."""
    rng = np.random.default_rng(seed)
    reference = np.zeros((16, 16, 16), dtype=np.uint8)
    reference[2:10, 2:10, 2:10] = 1
    prediction = reference.copy()
    if kind == "islands":
        prediction[12:14, 12:14, rng.integers(11, 15)] = 1
    elif kind == "holes":
        prediction[5, 5, rng.integers(4, 8)] = 0
    elif kind == "two lesions":
        reference[12:15, 12:15, 12:15] = prediction[12:15, 12:15, 12:15] = 1
        prediction[0, 15, rng.integers(0, 15)] = 1
    return prediction, reference


def tune(*pairs: tuple[np.ndarray, np.ndarray]) -> PostprocessingTuner:
    tuner = PostprocessingTuner(2)
    for _, reference in pairs:
        tuner.see_reference(reference, (1, 1, 1))
    for prediction, reference in pairs:
        tuner.add(prediction, reference, (1, 1, 1))
    return tuner


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("clean", None),
        ("islands", Rule(largest_component=True)),
        ("holes", Rule(fill_holes=True)),
    ],
)
def test_the_fault_decides_the_rule(kind: str, rule: Rule | None) -> None:
    tuned = tune(*(case(kind, seed) for seed in range(4))).result()
    assert tuned.postprocessing.rules == ({1: rule} if rule else {})
    assert tuned.after[1] >= tuned.before[1]
    assert tuned.num_cases == 4


def test_a_second_true_structure_keeps_the_largest_component_from_being_taken() -> None:
    tuned = tune(*(case("two lesions", seed) for seed in range(4))).result()
    (rule,) = tuned.postprocessing.rules.values()
    assert not rule.largest_component
    assert rule.min_volume_ml > 0
    assert tuned.after[1] == 1


def test_what_it_promises_is_what_applying_gives_and_nothing_tried_is_better() -> None:
    pairs = [case(kind, seed) for kind in ("islands", "holes", "two lesions") for seed in range(2)]
    tuned = tune(*pairs).result()

    def mean_dice(rule: Rule) -> float:
        scores = []
        for prediction, reference in pairs:
            done = Postprocessing({1: rule}).apply(prediction, (1, 1, 1))
            table = contingency(done, reference, 2)
            scores.append(2 * table[1, 1] / (table[1].sum() + table[:, 1].sum()))
        return float(np.mean(scores))

    best = tuned.postprocessing.rules.get(1, Rule())
    assert mean_dice(best) == pytest.approx(tuned.after[1])
    assert mean_dice(Rule()) == pytest.approx(tuned.before[1])
    assert max(map(mean_dice, candidate_rules([0.027, 0.512]))) == pytest.approx(tuned.after[1])


def test_removing_what_is_not_there_is_rewarded() -> None:
    empty = np.zeros((8, 8, 8), dtype=np.uint8)
    speck = empty.copy()
    speck[0, 0, 0] = 1
    tuned = tune(case("clean", 0), (speck, empty)).result()
    assert tuned.postprocessing.rules[1].min_volume_ml > 0
    assert (tuned.before[1], tuned.after[1]) == (0.5, 1.0)


def test_nothing_and_other_shapes_are_refused() -> None:
    with pytest.raises(DatasetError, match="at least one validation case"):
        PostprocessingTuner(2).result()
    with pytest.raises(ShapeError, match=r"labels of one shape, got \(2, 2\) and \(3, 3\)"):
        PostprocessingTuner(2).add(np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8), (1, 1))


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 1), (1, 12, 12), (12, 1, 12)])
def test_the_hole_of_a_ring_is_found_in_one_slice(shape: tuple[int, ...]) -> None:
    reference = np.zeros((12, 12), dtype=np.uint8)
    reference[2:9, 2:9] = 1
    ring = reference.copy()
    ring[4:7, 4:7] = 0
    tuned = tune((ring.reshape(shape), reference.reshape(shape))).result()
    assert tuned.postprocessing.rules == {1: Rule(fill_holes=True)}
    assert tuned.after[1] == 1


def test_a_hole_that_another_class_fills_is_no_gain() -> None:
    reference = np.zeros((12, 12, 12), dtype=np.uint8)
    reference[2:9, 2:9, 2:9] = 1
    reference[4:7, 4:7, 4:7] = 2
    tuner = PostprocessingTuner(3)
    tuner.see_reference(reference, (1, 1, 1))
    tuner.add(reference, reference, (1, 1, 1))
    assert tuner.result().postprocessing.rules == {}


@pytest.mark.parametrize("shape", [(9, 10, 8), (9, 10, 1), (9, 10)])
def test_only_the_surroundings_of_a_class_are_looked_at_and_scores_are_those_of_the_whole(
    shape: tuple[int, ...], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = 2 * rng.integers(0, 2, shape).astype(np.uint8)  # label 3 is in no prediction
    ring = np.ones((5, 5), np.uint8)
    ring[1:4, 1:4] = 0
    small[(slice(2, 7), slice(2, 7), *(size // 2 for size in shape[2:]))] = (
        ring  # in one slice of several it is open
    )
    around = [(20, 30), (25, 25), *([(15, 20)] if shape[2:] > (1,) else [(0, 0)])][: len(shape)]
    prediction = np.pad(small, around)
    reference = np.roll(prediction, 1, axis=0)
    reference.flat[0] = 3
    seen = []
    apply = Postprocessing.apply

    def noted(rules: Postprocessing, labels: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
        seen.append(labels.size)
        return apply(rules, labels, spacing_mm)

    tuner = PostprocessingTuner(4)
    tuner.see_reference(reference, (1, 1, 1))
    monkeypatch.setattr(Postprocessing, "apply", noted)
    tuner.add(prediction, reference, (1, 1, 1))
    assert max(seen) <= np.prod([size + 2 for size in shape])
    for label, scores in tuner._scores.items():
        truth = reference == label
        for rule, (score,) in scores.items():
            done = apply(Postprocessing({label: rule}), prediction, (1, 1, 1)) == label
            assert score == 2 * (done & truth).sum() / (done.sum() + truth.sum())
