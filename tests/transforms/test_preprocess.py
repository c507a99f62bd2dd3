import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import SpatialResample

from medconv.errors import BadImageError, GeometryError, ShapeError
from medconv.io import Volume, discover, read_image, read_labels, volume_from_array
from medconv.io.geometry import geometry_from_affine
from medconv.planning import Intensity, Plan, propose_plan
from medconv.transforms import Preprocessor
from medconv.transforms import resample as resample_module

NAMES = {0: "background", 1: "head", 2: "tail"}
AXES = {"L": (0, -1), "R": (0, 1), "P": (1, -1), "A": (1, 1), "I": (2, -1), "S": (2, 1)}
ORIENTATIONS = [
    "".join(pair[side] for pair, side in zip(order, sides, strict=True))
    for order in itertools.permutations(("LR", "PA", "IS"))
    for sides in itertools.product((0, 1), repeat=3)
]


def plan_for(spacing_mm=(1.0, 1.0, 1.0), orientation="RAS", normalization="none", names=NAMES, channels=1):
    return Plan(
        spatial_dims=3,
        channel_names=[f"c{n}" for n in range(channels)],
        label_names=names,
        spacing_mm=spacing_mm,
        patch_size=(8, 8, 8),
        normalization=(normalization,) * channels,
        orientation=orientation,
    )


def affine_near(orientation, spacing_mm, degrees=(11.0, -7.0, 15.0)):
    """Axes near ``orientation``, tilted about all three body axes, with the given spacing as stored."""
    axes = np.zeros((3, 3))
    for column, letter in enumerate(orientation):
        row, sign = AXES[letter]
        axes[row, column] = sign
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = (k for k in range(3) if k != axis)
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        axes = turn @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing_mm)
    affine[:3, 3] = (-40.0, 25.0, 13.0)
    return affine


def make(data, affine):
    """A volume of ``(C, *S)`` data."""
    return Volume(np.asarray(data), geometry_from_affine(affine), None)


def one_hot(labels, num_classes=3):
    """Scores of labels ``(1, *S)``."""
    return torch.nn.functional.one_hot(labels[0].long(), num_classes).movedim(-1, 0).float()


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_labels_come_back_bit_by_bit_from_every_orientation(orientation, rng):
    spacing = (0.8, 0.8, 2.5)
    stored = [spacing[AXES[letter][0]] for letter in orientation]
    affine = affine_near(orientation, stored)
    labels = rng.integers(0, 3, (1, 4, 5, 6)).astype(np.uint8)
    prepare = Preprocessor(plan_for(spacing))
    image, record = prepare.apply(make(labels.astype(np.float32), affine))
    prepared = prepare.apply_label(make(labels, affine), record)
    assert np.array_equal(prepared.numpy(), image.numpy())
    restored = prepare.restore(one_hot(prepared), record)
    assert restored.dtype == np.uint8
    assert np.array_equal(restored, labels[0])
    scores = prepare.restore_scores(one_hot(prepared) * 100, record)
    assert np.array_equal(scores.argmax(0), labels[0])


@settings(max_examples=50)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    target=st.sampled_from(["RAS", "LPS", "SAR", "native"]),
    spacing=st.tuples(*[st.floats(0.5, 4)] * 3),
    work=st.tuples(*[st.floats(0.5, 4)] * 3),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
)
def test_any_grid_comes_back_to_its_own_shape_and_to_known_labels(orientation, target, spacing, work, shape):
    prepare = Preprocessor(plan_for(work, target))
    affine = affine_near(orientation, spacing)
    labels = np.random.default_rng(0).integers(0, 3, (1, *shape)).astype(np.uint8)
    image, record = prepare.apply(make(labels.astype(np.float32), affine))
    prepared = prepare.apply_label(make(labels, affine), record)
    assert image.shape[1:] == prepared.shape[1:] == record.work_shape
    assert set(prepared.unique().tolist()) <= set(np.unique(labels).tolist())
    restored = prepare.restore(one_hot(prepared), record)
    assert restored.shape == shape
    assert set(np.unique(restored).tolist()) <= set(np.unique(labels).tolist())


def test_a_finer_working_grid_gives_the_labels_back(rng):
    labels = rng.integers(0, 3, (1, 5, 6, 4)).astype(np.uint8)
    affine = affine_near("PIR", (3.0, 3.0, 3.0))
    prepare = Preprocessor(plan_for((1.0, 1.0, 1.0)))
    _, record = prepare.apply(make(labels.astype(np.float32), affine))
    prepared = prepare.apply_label(make(labels, affine), record)
    assert prepared.numel() == 27 * labels.size
    assert np.array_equal(prepare.restore(one_hot(prepared), record), labels[0])


def test_shape_of_a_structure_survives_a_coarser_working_grid():
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij"))
    ball = (np.square(grid).sum(0) < 0.4).astype(np.uint8)[None]
    affine = affine_near("LPS", (1.0, 1.0, 1.0))
    prepare = Preprocessor(plan_for((1.7, 1.7, 1.7)))
    _, record = prepare.apply(make(ball.astype(np.float32), affine))
    restored = prepare.restore(one_hot(prepare.apply_label(make(ball, affine), record)), record)
    overlap = 2 * (restored & ball[0]).sum() / (restored.sum() + ball.sum())
    assert overlap > 0.95


# ---------------------------------------------------------------- place and value


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize("work", [(0.5, 0.5, 0.5), (1.9, 1.3, 2.4), (3.0, 3.0, 3.0)])
def test_a_landmark_keeps_its_place_in_mm(orientation, work):
    affine = affine_near(orientation, (0.9, 1.1, 2.0))
    prepare = Preprocessor(plan_for(work))
    for index in [(9, 8, 7), (12, 4, 10), (3, 15, 5)]:
        data = np.zeros((1, 20, 20, 16), np.float32)
        data[(0, *index)] = 1
        image, record = prepare.apply(make(data, affine))
        weights = image[0].numpy()
        found = [
            (weights.sum(tuple(k for k in range(3) if k != axis)) * np.arange(n)).sum() / weights.sum()
            for axis, n in enumerate(weights.shape)
        ]
        there = (record.work_geometry.affine @ [*found, 1])[:3]
        expected = (affine @ [*index, 1])[:3]
        voxel = np.array(record.work_geometry.spacing_mm)
        difference = np.linalg.solve(record.work_geometry.affine[:3, :3] / voxel, there - expected) / voxel
        assert np.abs(difference).max() <= 0.5


def test_a_linear_ramp_in_mm_stays_the_same_ramp():
    affine = affine_near("PIR", (0.9, 1.1, 2.0))
    direction, offset = np.array([0.3, -1.2, 0.7]), 40.0
    index = np.indices((20, 18, 16)).reshape(3, -1)
    places = affine[:3, :3] @ index + affine[:3, 3:]
    ramp = (direction @ places + offset).reshape(1, 20, 18, 16).astype(np.float32)
    for work in [(0.5, 0.7, 0.6), (1.6, 1.6, 3.0), (1.0, 3.0, 0.5)]:
        image, record = Preprocessor(plan_for(work)).apply(make(ramp, affine))
        index = np.indices(record.work_shape).reshape(3, -1)
        places = record.work_geometry.affine[:3, :3] @ index + record.work_geometry.affine[:3, 3:]
        expected = (direction @ places + offset).reshape(record.work_shape)
        inside = (slice(2, -2),) * 3  # beyond the outermost centres the border value goes on
        np.testing.assert_allclose(image[0].numpy()[inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
def test_turning_and_refining_agree_with_monai(orientation, rng):
    affine = affine_near(orientation, (1.0, 1.4, 2.0))
    data = rng.random((2, 5, 6, 7)).astype(np.float32)
    image, record = Preprocessor(plan_for((0.5, 0.6, 1.0), channels=2)).apply(make(data, affine))
    resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False, dtype=np.float64)
    expected = resample(
        MetaTensor(data, affine=affine),
        dst_affine=record.work_geometry.affine,
        spatial_size=record.work_shape,
    )
    np.testing.assert_allclose(image.numpy(), expected.numpy(), atol=1e-5)


def test_spacing_within_a_thousandth_is_not_resampled(rng):
    data = rng.random((1, 900, 3, 3)).astype(np.float32)
    near = make(data, np.diag([1.0009, 0.9991, 1.0, 1]))
    image, record = Preprocessor(plan_for((1.0, 1.0, 1.0))).apply(near)
    assert record.work_shape == (900, 3, 3)
    assert np.array_equal(image.numpy(), data)
    _, record = Preprocessor(plan_for((1.0, 1.0, 1.0))).apply(make(data, np.diag([1.0012, 1, 1, 1])))
    assert record.work_shape == (901, 3, 3)


def test_one_coarse_axis_is_refined_and_the_others_stay(rng):
    data = rng.random((1, 6, 5, 4)).astype(np.float32)
    image, record = Preprocessor(plan_for((1.0, 1.0, 1.0))).apply(make(data, np.diag([1.0, 1, 3, 1])))
    assert record.work_shape == (6, 5, 12)
    np.testing.assert_allclose(image[..., 1::3].numpy(), data, atol=1e-6)
    assert record.work_geometry.spacing_mm == (1, 1, 1)


def test_intensities_are_scaled_as_planned(rng):
    data = rng.normal(500, 90, (1, 8, 8, 8)).astype(np.float32)
    volume = make(data, np.eye(4))
    image, _ = Preprocessor(plan_for(normalization="zscore")).apply(volume)
    assert image.mean().item() == pytest.approx(0, abs=1e-5)
    assert image.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    ct = Plan(3, ("CT",), NAMES, (1, 1, 1), (8, 8, 8), ("ct",), intensity=(Intensity(0, 1000, 400, 50),))
    image, _ = Preprocessor(ct).apply(volume)
    np.testing.assert_allclose(image.numpy(), (data - 400) / 50, atol=1e-4)
    with pytest.warns(UserWarning, match="every voxel is 3"):
        image, _ = Preprocessor(plan_for(normalization="zscore")).apply(make(data * 0 + 3, np.eye(4)))
    assert not image.any()


def test_result_is_a_plain_contiguous_float32_tensor(tiny_dataset):
    case = discover(tiny_dataset).cases[0]
    image, _ = Preprocessor(propose_plan(discover(tiny_dataset))).apply(read_image(case.images))
    assert type(image) is torch.Tensor
    assert image.dtype == torch.float32
    assert image.is_contiguous()


def test_input_is_left_alone(rng):
    data = rng.random((1, 4, 5, 6)).astype(np.float32)
    before = data.copy()
    image, _ = Preprocessor(plan_for(orientation="native")).apply(make(data, np.eye(4)))
    image.zero_()
    assert np.array_equal(data, before)


# ---------------------------------------------------------------- scores


def test_scores_are_resampled_not_labels():
    # two coarse voxels; the boundary of the finer native grid follows the scores, not the voxel faces
    prepare = Preprocessor(plan_for((4.0, 1.0, 1.0), names={0: "background", 1: "a"}))
    _, record = prepare.apply(make(np.zeros((1, 8, 1, 1), np.float32), np.eye(4)))
    assert record.work_shape == (2, 1, 1)
    scores = torch.tensor([[0.0, 0.0], [3.0, -1.0]]).reshape(2, 2, 1, 1)
    assert prepare.restore(scores, record)[:, 0, 0].tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_probabilities_sum_to_one_and_agree_with_the_labels(rng, dtype):
    affine = affine_near("PIR", (1.3, 0.9, 2.2))
    prepare = Preprocessor(plan_for())
    _, record = prepare.apply(make(np.zeros((1, 9, 8, 7), np.float32), affine))
    logits = torch.from_numpy(rng.normal(0, 2, (3, *record.work_shape))).to(dtype)
    scores, labels = prepare.restore_scores(logits, record), prepare.restore(logits, record)
    assert scores.dtype == np.float32
    assert scores.shape == (3, 9, 8, 7)
    np.testing.assert_allclose(scores.sum(0), 1, atol=1e-5)
    assert np.array_equal(scores.argmax(0), labels)


def test_slabs_change_nothing(rng, monkeypatch):
    affine = affine_near("PIR", (1.3, 0.9, 2.2))
    prepare = Preprocessor(plan_for())
    _, record = prepare.apply(make(np.zeros((1, 9, 8, 7), np.float32), affine))
    logits = torch.from_numpy(rng.normal(0, 2, (3, *record.work_shape)))
    whole, whole_scores = prepare.restore(logits, record), prepare.restore_scores(logits, record)
    monkeypatch.setattr(resample_module, "SLAB_ELEMENTS", 1)
    assert np.array_equal(prepare.restore(logits, record), whole)
    np.testing.assert_allclose(prepare.restore_scores(logits, record), whole_scores, atol=1e-6)


def test_logits_may_need_gradients_and_are_left_alone(rng):
    prepare = Preprocessor(plan_for((2.0, 2.0, 2.0)))
    _, record = prepare.apply(make(np.zeros((1, 6, 6, 6), np.float32), np.eye(4)))
    logits = torch.randn(3, 3, 3, 3, requires_grad=True)
    before = logits.detach().clone()
    assert prepare.restore(logits, record).shape == (6, 6, 6)
    assert torch.equal(logits, before)


@pytest.mark.gpu
def test_restoring_on_the_device_gives_the_same_labels(rng):
    affine = affine_near("PIR", (1.3, 0.9, 2.2))
    prepare = Preprocessor(plan_for())
    _, record = prepare.apply(make(np.zeros((1, 30, 28, 17), np.float32), affine))
    logits = torch.from_numpy(rng.normal(0, 2, (3, *record.work_shape)).astype(np.float32))
    same = prepare.restore(logits.cuda(), record) == prepare.restore(logits, record)
    assert same.mean() > 0.999


@pytest.mark.parametrize(("classes", "dtype"), [(2, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_labels_are_as_small_as_the_classes_allow(classes, dtype):
    prepare = Preprocessor(plan_for(names={n: f"n{n}" for n in range(classes)}))
    label = make(np.full((1, 2, 2, 2), classes - 1, np.uint16), np.eye(4))
    _, record = prepare.apply(make(np.zeros((1, 2, 2, 2), np.float32), np.eye(4)))
    prepared = prepare.apply_label(label, record)
    assert prepared.dtype == (torch.uint8 if classes <= 256 else torch.int16)
    restored = prepare.restore(one_hot(prepared, classes), record)
    assert restored.dtype == dtype
    assert (restored == classes - 1).all()


# ---------------------------------------------------------------- two dimensions


def test_single_slice_is_a_2d_image(rng):
    plan = Plan(2, ("T1",), NAMES, (0.5, 0.5), (8, 8), ("none",), "native")
    prepare = Preprocessor(plan)
    volume = volume_from_array(rng.random((10, 12)), (1.0, 0.5))
    image, record = prepare.apply(volume)
    assert image.shape == (1, 20, 12)
    labels = rng.integers(0, 3, (1, 10, 12, 1)).astype(np.uint8)
    prepared = prepare.apply_label(Volume(labels, volume.geometry, None), record)
    assert prepared.shape == (1, 20, 12)
    assert np.array_equal(prepare.restore(one_hot(prepared), record), labels[0])
    assert prepare.restore_scores(one_hot(prepared), record).shape == (3, 10, 12, 1)


def test_volume_for_a_2d_plan_is_refused():
    plan = Plan(2, ("T1",), NAMES, (0.5, 0.5), (8, 8), ("none",), "native")
    with pytest.raises(BadImageError, match=r"expected a single slice .* got \(4, 4, 3\)"):
        Preprocessor(plan).apply(volume_from_array(np.zeros((4, 4, 3)), (1, 1, 1)))


# ---------------------------------------------------------------- what does not fit


def test_another_number_of_channels_is_refused():
    with pytest.raises(BadImageError, match=r"expected 2 channel\(s\) \(c0, c1\), got 1"):
        Preprocessor(plan_for(channels=2)).apply(volume_from_array(np.zeros((4, 4, 4)), (1, 1, 1)))


def test_several_channels_are_prepared_alike(rng):
    data = rng.random((3, 4, 5, 6)).astype(np.float32)
    affine = affine_near("PIR", (1.5, 1.0, 0.7))
    together, _ = Preprocessor(plan_for(channels=3)).apply(make(data, affine))
    for channel in range(3):
        alone, _ = Preprocessor(plan_for()).apply(make(data[channel : channel + 1], affine))
        assert torch.equal(together[channel], alone[0])


def test_label_on_another_grid_is_refused(rng):
    prepare = Preprocessor(plan_for())
    _, record = prepare.apply(make(np.zeros((1, 4, 4, 4), np.float32), np.eye(4)))
    moved = np.eye(4)
    moved[0, 3] = 0.2
    with pytest.raises(GeometryError, match=r"0\.2 voxels apart"):
        prepare.apply_label(make(np.zeros((1, 4, 4, 4), np.uint8), moved), record)
    with pytest.raises(GeometryError, match=r"got \(4, 4, 5\)"):
        prepare.apply_label(make(np.zeros((1, 4, 4, 5), np.uint8), np.eye(4)), record)


def test_labels_the_plan_does_not_know_are_refused():
    prepare = Preprocessor(plan_for())
    _, record = prepare.apply(make(np.zeros((1, 2, 2, 2), np.float32), np.eye(4)))
    with pytest.raises(BadImageError, match="expected labels from 0 to 2 as the plan names them, got 3"):
        prepare.apply_label(make(np.full((1, 2, 2, 2), 3, np.uint8), np.eye(4)), record)


@pytest.mark.parametrize("shape", [(2, 3, 3, 3), (3, 3, 3, 4), (1, 3, 3, 3, 3)])
def test_scores_of_another_shape_are_refused(shape):
    prepare = Preprocessor(plan_for())
    _, record = prepare.apply(make(np.zeros((1, 3, 3, 3), np.float32), np.eye(4)))
    for restore in (prepare.restore, prepare.restore_scores):
        with pytest.raises(ShapeError, match=r"expected scores \(K, \*S'\) \(3, 3, 3, 3\), got"):
            restore(torch.zeros(shape), record)


def test_spacing_that_would_fill_the_memory_is_refused():
    huge = make(np.zeros((1, 500, 500, 500), np.uint8), np.diag([100.0, 100, 100, 1]))
    with pytest.raises(GeometryError, match=r"100 × 100 × 100 mm would become \(50000, 50000, 50000\)"):
        Preprocessor(plan_for()).record(huge)


def test_preprocessor_and_record_can_be_sent_to_a_worker(rng):
    prepare = Preprocessor(plan_for())
    labels = rng.integers(0, 3, (1, 4, 5, 6)).astype(np.uint8)
    affine = affine_near("PIR", (1, 1, 1))
    _, record = prepare.apply(make(labels.astype(np.float32), affine))
    prepare, record = pickle.loads(pickle.dumps((prepare, record)))
    prepared = prepare.apply_label(make(labels, affine), record)
    assert np.array_equal(prepare.restore(one_hot(prepared), record), labels[0])


# ---------------------------------------------------------------- real volumes


def test_every_hippocampus_survives_the_round_trip(real_data):
    dataset = discover(real_data / "hippocampus")
    prepare = Preprocessor(propose_plan(dataset))
    coarse = Preprocessor(plan_for((1.5, 1.5, 1.5), "LPI", "zscore", names=dict(dataset.label_names)))
    for case in dataset.cases[::20]:
        volume = read_image(case.images, channels=1)
        label = read_labels(case.label, allowed=dataset.label_names, like=volume)
        image, record = prepare.apply(volume)
        assert torch.isfinite(image).all()
        assert image.std(correction=0).item() == pytest.approx(1, abs=1e-3)
        prepared = prepare.apply_label(label, record)
        assert np.array_equal(prepare.restore(one_hot(prepared), record), label.data[0])
        _, record = coarse.apply(volume)
        back = coarse.restore(one_hot(coarse.apply_label(label, record)), record)
        for value in (1, 2):
            mine, true = back == value, label.data[0] == value
            assert 2 * (mine & true).sum() / (mine.sum() + true.sum()) > 0.85
