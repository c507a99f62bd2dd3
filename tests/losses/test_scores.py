"""Regions and unknown voxels, for every loss of the catalogue."""

from __future__ import annotations

import pytest
import torch
from monai.losses import DiceLoss as MonaiDiceLoss

from medconv.errors import ShapeError
from medconv.losses import (
    BoundaryLoss,
    CenterlineDiceLoss,
    CrossEntropyLoss,
    DeepSupervisionLoss,
    DiceCrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    TverskyLoss,
)
from medconv.losses.scores import inside_regions
from medconv.training.graphed_step import GraphedStep

REGIONS = [(1, 2, 3), (2, 3), (3,)]
ALL = [
    BoundaryLoss(spacing_mm=(1.0, 2.0)),
    CenterlineDiceLoss(),
    CrossEntropyLoss(),
    CrossEntropyLoss(label_smoothing=0.1, class_weights=[1.0, 2.0, 0.5]),
    DiceCrossEntropyLoss(batch_dice=True),
    DiceLoss(),
    DiceLoss(squared=True),
    FocalLoss(),
    TverskyLoss(),
]


def draw(classes=3):
    torch.manual_seed(2)
    return torch.randn(2, classes, 6, 5), torch.randint(0, 4, (2, 1, 6, 5))


def test_dice_of_regions_equals_monai_with_sigmoid():
    logits, target = draw()
    oracle = MonaiDiceLoss(sigmoid=True, smooth_nr=0.1, smooth_dr=0.1)
    truth = inside_regions(target, REGIONS).float()
    torch.testing.assert_close(DiceLoss(smooth=0.1)(logits, target, regions=REGIONS), oracle(logits, truth))


def test_cross_entropy_of_regions_equals_pytorchs():
    logits, target = draw()
    truth = inside_regions(target, REGIONS).float()
    oracle = torch.nn.functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(CrossEntropyLoss()(logits, target, regions=REGIONS), oracle(logits, truth))
    smooth = CrossEntropyLoss(label_smoothing=0.2)(logits, target, regions=REGIONS)
    torch.testing.assert_close(smooth, oracle(logits, 0.8 * truth + 0.1))
    weights = torch.tensor([1.0, 3.0, 0.5])
    weighted = CrossEntropyLoss(class_weights=weights.tolist())(logits, target, regions=REGIONS)
    each = oracle(logits, truth, reduction="none") * weights.view(1, 3, 1, 1)
    torch.testing.assert_close(weighted, each.sum() / (weights.sum() * 2 * 30))


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_regions_have_a_right_gradient_and_a_perfect_answer_costs_nothing(loss):
    logits, target = draw()
    if not getattr(loss, "label_smoothing", 0):
        perfect = torch.where(inside_regions(target, REGIONS), 40.0, -40.0)
        assert 0 <= loss(perfect, target, regions=REGIONS) < 1e-4 < loss(logits, target, regions=REGIONS)
    z = logits[:1, :, :3, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(z, target[:1, :, :3, :3], regions=REGIONS), (z,))


@pytest.mark.parametrize("regions", [None, REGIONS], ids=["classes", "regions"])
@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_unknown_voxels_have_no_say_and_no_gradient(loss, regions):
    logits, target = draw()
    target = target.clamp(max=2) if regions is None else target
    valid = torch.rand(target.shape) < 0.6
    z = logits.clone().requires_grad_()
    value = loss(z, target, valid=valid, regions=regions)
    value.backward()
    assert not (z.grad * ~valid).any()
    assert z.grad.any()
    other = torch.where(valid, logits, 5 * torch.randn_like(logits))
    torch.testing.assert_close(loss(other, target, valid=valid, regions=regions), value.detach())
    nothing = loss(logits.requires_grad_(), target, valid=torch.zeros_like(valid), regions=regions)
    assert torch.isfinite(nothing)


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), DiceLoss(), FocalLoss(), TverskyLoss()], ids=repr)
def test_leaving_voxels_out_equals_cutting_them_off(loss):
    logits, target = draw()
    target, valid = target.clamp(max=2), torch.ones_like(target, dtype=torch.bool)
    valid[..., 3:] = False
    cut = loss(logits[..., :3], target[..., :3])
    torch.testing.assert_close(loss(logits, target, valid=valid), cut)


def test_deep_supervision_knows_regions_and_the_ignore_label_at_every_resolution():
    torch.manual_seed(0)
    outputs = [torch.randn(1, 3, 4, 4), torch.randn(1, 3, 2, 2)]
    target = torch.tensor([[[[3, 3, 4, 4], [3, 1, 4, 0], [0, 0, 1, 1], [0, 2, 1, 1]]]])
    loss = DeepSupervisionLoss(CrossEntropyLoss(), regions=REGIONS, ignore_label=4)
    coarse = torch.tensor([[[[3, 0], [0, 1]]]])
    plain, known = CrossEntropyLoss(), torch.tensor([[[[True, False], [True, True]]]])
    expected = (
        2 * plain(outputs[0], target.clamp(max=3), valid=target < 4, regions=REGIONS)
        + plain(outputs[1], coarse, valid=known, regions=REGIONS)
    ) / 3
    torch.testing.assert_close(loss(outputs, target), expected)


def test_mistakes_are_named():
    logits, target = draw()
    with pytest.raises(ShapeError, match="expected one channel of logits for each of 2 regions, got 3"):
        DiceLoss()(logits, target, regions=REGIONS[:2])
    with pytest.raises(ShapeError, match=r"expected 3 class_weights \(one a region\), got 2"):
        CrossEntropyLoss(class_weights=[1, 2])(logits, target, regions=REGIONS)


@pytest.mark.slow  # compiles
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")  # dynamo does
@pytest.mark.parametrize(
    "loss",
    [BoundaryLoss(spacing_mm=(1.0, 2.0)), DiceCrossEntropyLoss()],
    ids=lambda loss: type(loss).__name__,
)
def test_with_regions_and_unknown_voxels_nothing_asks_the_device_for_a_value(loss):
    torch.compiler.reset()
    outputs = [torch.randn(2, 3, 6, 4), torch.randn(2, 3, 3, 2)]
    target = torch.randint(0, 5, (2, 1, 6, 4))
    supervised = DeepSupervisionLoss(loss, regions=REGIONS, ignore_label=4)
    # a graph without breaks has no value of a tensor in its control flow: a CUDA graph can be recorded
    compiled = torch.compile(supervised, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(outputs, target), supervised(outputs, target))


@pytest.mark.gpu
@pytest.mark.parametrize("regions", [None, REGIONS], ids=["classes", "regions"])
@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_a_recorded_step_has_the_gradients_of_an_ordinary_one(loss, regions):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(1, 3, 3, padding=1).cuda()
    supervised = DeepSupervisionLoss(loss, regions=regions, ignore_label=4 if regions else 3).cuda()

    def loss_of_batch(image, label):
        return supervised(layer(image), label)

    batches = [
        (torch.randn(2, 1, 6, 5).cuda(), torch.randint(0, 5 if regions else 4, (2, 1, 6, 5)).cuda())
        for _ in range(3)
    ]
    step = GraphedStep(loss_of_batch, layer, *batches[0])
    for batch in batches:
        layer.zero_grad()
        recorded = step(*batch)
        recorded.backward()
        got = [p.grad.clone() for p in layer.parameters()]
        layer.zero_grad()
        eager = loss_of_batch(*batch)
        eager.backward()
        torch.testing.assert_close(recorded, eager)
        torch.testing.assert_close(got, [p.grad for p in layer.parameters()])
