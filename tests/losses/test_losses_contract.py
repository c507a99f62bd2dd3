"""The examination that every loss passes; a new loss is examined because it is in the catalogue."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor

import medconv.losses
from medconv.catalogue import catalogue
from medconv.errors import ShapeError
from medconv.losses import BoundaryLoss, CompoundLoss, DiceLoss, FocalLoss, Loss, Scores

LOSSES = [cls for cls in catalogue(Loss).values() if cls.__module__.startswith("medconv.")]


class BoundaryLossOfMillimetres(BoundaryLoss):
    """Of voxels of 1 mm, in 2-D and 3-D."""

    def of_scores(self, scores: Scores) -> Tensor:
        scores.spacing_mm = (1.0,) * scores.spatial_dims
        return super().of_scores(scores)


EXAMPLES = {
    BoundaryLoss: lambda: BoundaryLossOfMillimetres(),
    CompoundLoss: lambda: CompoundLoss([DiceLoss(), FocalLoss()], [1.0, 0.5]),
}
"""Of losses that cannot be built from nothing."""

CLASSES, SHAPES = 3, [(2, 5, 4), (2, 4, 3, 5)]


@pytest.fixture(params=LOSSES, ids=lambda cls: cls.__name__)
def loss(request: pytest.FixtureRequest) -> Loss:
    return EXAMPLES.get(request.param, request.param)()


def draw(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    logits = torch.randn(shape[0], CLASSES, *shape[1:], dtype=dtype)
    return logits, torch.randint(0, CLASSES, (shape[0], 1, *shape[1:]), dtype=torch.uint8)


def perfect_logits(target: Tensor, scale: float = 40.0) -> Tensor:
    return scale * torch.nn.functional.one_hot(target[:, 0].long(), CLASSES).movedim(-1, 1).float()


def test_the_catalogue_lists_what_the_room_exports() -> None:
    exported = {getattr(medconv.losses, name) for name in medconv.losses.__all__}
    assert set(LOSSES) == {cls for cls in exported if issubclass(cls, Loss) and cls is not Loss}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_is_a_float32_scalar_and_every_logit_gets_a_gradient(
    loss: Loss, shape: tuple[int, ...]
) -> None:
    logits, target = draw(shape)
    value = loss(logits.requires_grad_(), target)
    value.backward()
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert logits.grad is not None
    assert bool((logits.grad != 0).all())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_agrees_with_finite_differences(loss: Loss, shape: tuple[int, ...]) -> None:
    logits, target = draw(tuple(min(n, 3) for n in shape), torch.float64)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), (logits.requires_grad_(),))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_perfect_is_zero_and_nothing_is_worse_than_the_opposite(loss: Loss, shape: tuple[int, ...]) -> None:
    logits, target = draw(shape)
    perfect = loss(perfect_logits(target), target)
    assert 0 <= perfect < 1e-4
    assert perfect < loss(logits, target) < loss(-perfect_logits(target), target)


def test_a_step_against_the_gradient_lowers_the_loss(loss: Loss) -> None:
    logits, target = draw(SHAPES[1])
    (grad,) = torch.autograd.grad(loss(logits.requires_grad_(), target), logits)
    assert loss(logits - 0.1 * grad / grad.norm(), target) < loss(logits, target)


def test_a_constant_added_to_all_logits_changes_nothing(loss: Loss) -> None:
    logits, target = draw(SHAPES[0])
    torch.testing.assert_close(loss(logits + 7, target), loss(logits, target))


def test_classes_absent_from_the_truth_leave_value_and_gradient_finite(loss: Loss) -> None:
    logits, _ = draw(SHAPES[1])
    target = torch.zeros(2, 1, 4, 3, 5, dtype=torch.long)
    value = loss(logits.requires_grad_(), target)
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert loss(perfect_logits(target, 200.0), target) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
def test_half_precision_logits_of_a_large_volume_lose_nothing(loss: Loss, dtype: torch.dtype) -> None:
    # 2 · 64³ voxels: their float16 sum would be infinite
    target = (torch.arange(2 * 64**3) % CLASSES).view(2, 1, 64, 64, 64)
    logits = perfect_logits(target, 4.0).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = loss(logits, target)
    value.backward()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.detach().double(), target).float())
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_extreme_logits_stay_finite(loss: Loss) -> None:
    _, target = draw(SHAPES[0])
    logits = (-perfect_logits(target, 6e4)).half().requires_grad_()
    value = loss(logits, target)
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_mirrored_batch_has_the_same_loss(loss: Loss) -> None:
    logits, target = draw(SHAPES[1])
    torch.testing.assert_close(loss(logits.flip(2, 4), target.flip(2, 4)), loss(logits, target))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_type_of_labels_gives_the_same_number(loss: Loss, dtype: torch.dtype) -> None:
    logits, target = draw(SHAPES[0])
    assert loss(logits, target.to(dtype)) == loss(logits, target)


def test_it_carries_no_state_and_survives_copying(loss: Loss) -> None:
    logits, target = draw(SHAPES[0])
    assert not loss.state_dict()
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin(logits, target) == loss(logits, target)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")  # dynamo does
def test_it_compiles_in_one_graph(loss: Loss) -> None:
    torch.compiler.reset()  # losses share code, and Dynamo counts its versions
    logits, target = draw(SHAPES[1])
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = compiled(a, target)
    torch.testing.assert_close(value, loss(b, target))
    value.backward()
    loss(b, target).backward()
    torch.testing.assert_close(a.grad, b.grad)


def test_shapes_that_do_not_belong_together_are_refused(loss: Loss) -> None:
    with pytest.raises(ShapeError, match=r"expected logits \(B, K, \*S\) and target \(B, 1, \*S\), got"):
        loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4).long())
    with pytest.raises(ShapeError, match="at least 2 classes"):
        loss(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4).long())
    with pytest.raises(ShapeError, match=r"expected integer labels, got torch\.float32"):
        loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"expected labels 0 … 2 .* got 255 … 255"):
        loss(torch.zeros(2, 3, 4, 4), torch.full((2, 1, 4, 4), 255, dtype=torch.uint8))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*is deprecated")  # inductor uses it
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")  # dynamo does
def test_it_compiles_with_the_default_backend(loss: Loss) -> None:
    torch.compiler.reset()  # losses share code, and Dynamo counts its versions
    logits, target = draw(SHAPES[1])
    torch.testing.assert_close(torch.compile(loss, fullgraph=True)(logits, target), loss(logits, target))


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_on_cuda_it_is_deterministic_and_agrees_with_the_cpu(loss: Loss, shape: tuple[int, ...]) -> None:
    logits, target = draw(shape)
    torch.use_deterministic_algorithms(True)
    try:
        grads = []
        for _ in range(2):
            z = logits.cuda().requires_grad_()
            value = loss.cuda()(z, target.cuda())
            value.backward()
            grads.append(z.grad)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(*grads)
    torch.testing.assert_close(value.cpu(), loss.cpu()(logits, target))
