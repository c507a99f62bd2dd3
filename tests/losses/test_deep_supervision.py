from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from medconv.errors import ShapeError
from medconv.losses import CrossEntropyLoss, DeepSupervisionLoss, DiceCrossEntropyLoss
from medconv.losses.deep_supervision import coarser_labels, sample_nearest

SIZES = [(12, 10, 8), (6, 5, 8), (3, 5, 4), (3, 2, 2)]


def draw(sizes: list[tuple[int, ...]] = SIZES) -> tuple[list[torch.Tensor], torch.Tensor]:
    torch.manual_seed(3)
    target = torch.randint(0, 3, (2, 1, *sizes[0]), dtype=torch.uint8)
    return [torch.randn(2, 3, *size) for size in sizes], target


@pytest.mark.parametrize(("new", "old"), [(4, 8), (3, 8), (5, 7), (1, 6), (9, 4), (6, 6)])
def test_sampling_equals_nearest_exact_interpolation(new: int, old: int) -> None:
    labels = torch.arange(old * 5).view(1, 1, old, 5)
    oracle = interpolate(labels.float(), (new, 3), mode="nearest-exact").long()
    assert torch.equal(sample_nearest(labels, (new, 3)), oracle)


@pytest.mark.parametrize("flip", [(2,), (3,), (2, 3, 4)])
def test_coarser_labels_commute_with_reflections(flip: tuple[int, ...]) -> None:
    labels = torch.randint(0, 3, (2, 1, 8, 6, 4), generator=torch.Generator().manual_seed(1))
    coarse = coarser_labels(labels, (4, 3, 4), 3)
    assert torch.equal(coarser_labels(labels.flip(flip), (4, 3, 4), 3), coarse.flip(flip))


def test_a_coarser_label_is_the_commonest_of_its_cell() -> None:
    labels = torch.randint(
        0, 3, (2, 1, 8, 6, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    coarse = coarser_labels(labels, (4, 3, 2), 3)
    for b, i, j, k in torch.cartesian_prod(torch.arange(2), *[torch.arange(n) for n in (4, 3, 2)]).tolist():
        cell = labels[b, 0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, 2 * k : 2 * k + 2]
        assert coarse[b, 0, i, j, k] == torch.bincount(cell.flatten(), minlength=3).argmax()


def test_sizes_that_do_not_divide_are_sampled() -> None:
    labels = torch.arange(7).view(1, 1, 7, 1)
    assert torch.equal(coarser_labels(labels, (5, 1), 7), sample_nearest(labels, (5, 1)))


def test_it_is_the_weighted_mean_over_the_outputs() -> None:
    outputs, target = draw()
    part = DiceCrossEntropyLoss()
    small = [coarser_labels(target, o.shape[2:], o.shape[1]) for o in outputs]
    values = [part(o, t) for o, t in zip(outputs, small, strict=True)]
    expected = sum(w * v for w, v in zip((8 / 15, 4 / 15, 2 / 15, 1 / 15), values, strict=True))
    torch.testing.assert_close(DeepSupervisionLoss(part)(outputs, target), torch.as_tensor(expected))


def test_nnunet_drops_the_lowest_and_normalises_the_rest() -> None:
    loss = DeepSupervisionLoss(CrossEntropyLoss(), drop_lowest=True)
    assert loss.weights(4) == pytest.approx((4 / 7, 2 / 7, 1 / 7, 0))
    assert loss.weights(1) == (1.0,)
    outputs, target = draw()
    same_without = DeepSupervisionLoss(CrossEntropyLoss())(outputs[:-1], target)
    torch.testing.assert_close(loss(outputs, target), same_without)


def test_a_dropped_output_still_gets_a_gradient_of_zeros() -> None:
    outputs, target = draw()
    outputs = [o.requires_grad_() for o in outputs]
    DeepSupervisionLoss(CrossEntropyLoss(), drop_lowest=True)(outputs, target).backward()
    assert outputs[-1].grad is not None
    assert not outputs[-1].grad.any()
    assert all(bool(o.grad.any()) for o in outputs[:-1] if o.grad is not None)


def test_a_plain_tensor_and_a_list_of_one_are_the_loss_itself() -> None:
    (output,), target = draw(SIZES[:1])
    part = CrossEntropyLoss()
    for drop_lowest in (False, True):
        loss = DeepSupervisionLoss(part, drop_lowest=drop_lowest)
        assert loss(output, target) == part(output, target)
        assert loss([output], target) == part(output, target)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")  # dynamo does
def test_it_compiles_in_one_graph() -> None:
    outputs, target = draw(SIZES[:2])
    loss = DeepSupervisionLoss(DiceCrossEntropyLoss())
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(outputs, target), loss(outputs, target))


def test_outputs_without_the_full_resolution_first_are_refused() -> None:
    outputs, target = draw()
    loss = DeepSupervisionLoss(CrossEntropyLoss())
    with pytest.raises(ShapeError, match="full resolution first"):
        loss(outputs[::-1], target)
    with pytest.raises(ShapeError, match="got an empty list"):
        loss([], target)


@pytest.mark.parametrize("ignore_label", [None, 4])
def test_labels_outside_all_regions_have_a_voice_in_a_coarser_cell(ignore_label: int | None) -> None:
    target = torch.full((1, 1, 2, 2, 2), 3)
    target[..., 0, 0, 0] = 2
    outputs = [torch.zeros(1, 1, 2, 2, 2), torch.full((1, 1, 1, 1, 1), -20.0)]
    loss = DeepSupervisionLoss(CrossEntropyLoss(), regions=((2,),), num_labels=4, ignore_label=ignore_label)
    # the coarse voxel is label 3, outside the region: an output that says so costs nothing
    torch.testing.assert_close(loss(outputs, target), loss(outputs[:1], target) * 2 / 3)
