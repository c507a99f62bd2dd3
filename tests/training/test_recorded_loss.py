"""When a step is recorded, when not, and that nothing of it outlives its run."""

from __future__ import annotations

import warnings

import pytest
import torch

from medconv.training.recorded_loss import RecordedLoss

BATCH = torch.zeros(1), torch.zeros(1)


def ordinary(image, label):
    return image.sum() + label.sum() + 1


def recorded(wanted):
    return RecordedLoss(ordinary, torch.nn.Linear(1, 1), wanted)


def test_automatic_recording_is_left_out_silently_where_it_cannot_work():
    loss = recorded("auto")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss.prepare(on_gpu=False, precision="32-true")
        loss.prepare(on_gpu=True, precision="16-mixed")
    assert loss(*BATCH) == 1


@pytest.mark.parametrize("wanted", [True, "auto"])
def test_a_refusal_holds_and_is_told_only_to_who_asked(wanted):
    loss = recorded(wanted)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        loss.prepare(on_gpu=True, precision="bf16-mixed")
        loss.refuse("a callback changes the step")
    assert loss(*BATCH) == 1
    assert [str(w.message) for w in told] == (
        ["model.cuda_graph has no effect: a callback changes the step"] if wanted is True else []
    )


def test_a_new_run_never_replays_the_step_of_an_earlier_one():
    class Stale:
        def fits(self, image, label):
            return True

        def __call__(self, image, label):
            raise AssertionError("replayed a graph over weights that have moved")

    loss = recorded("auto")
    loss._step = Stale()
    loss.prepare(on_gpu=False, precision="32-true")
    assert loss(*BATCH) == 1
    loss._step = Stale()
    loss.forget()
    assert loss(*BATCH) == 1


def test_a_step_that_cannot_be_recorded_is_run_as_it_is(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("this step asks the device for a value")

    monkeypatch.setattr("medconv.training.recorded_loss.GraphedStep", fail)
    loss = recorded("auto")
    loss.prepare(on_gpu=True, precision="bf16-mixed")
    with pytest.warns(UserWarning, match="without a CUDA graph: this step asks the device for a value"):
        assert loss(*BATCH) == 1
    assert loss(*BATCH) == 1
