"""How far a run is: steps by every rank's own count, minutes by the first one's clock."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer

from medconv.training import build_task
from medconv.training.progress import run_progress, step_share, time_share

NETWORK = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": [2, 4]},
}


class Clock(Timer):
    def __init__(self, used, limit):
        super().__init__(timedelta(seconds=limit))
        self.used = used

    def time_elapsed(self, stage="train"):
        return self.used


def trainer(step, total=1000, world=1, clock=None, heard=None):
    strategy = SimpleNamespace(broadcast=lambda value: value if heard is None else heard, model=None)
    return SimpleNamespace(
        global_step=step,
        estimated_stepping_batches=total,
        world_size=world,
        callbacks=[] if clock is None else [clock],
        strategy=strategy,
        optimizers=[],
    )


def test_whichever_is_further_counts():
    assert run_progress(trainer(300)) == 0.3
    assert run_progress(trainer(300, clock=Clock(8, 10))) == 0.8
    assert run_progress(trainer(900, clock=Clock(8, 10))) == 0.9
    assert step_share(trainer(5, total=float("inf"))) == 0.0
    assert time_share(trainer(5)) == 0.0


def test_all_ranks_go_by_the_first_clock():
    assert time_share(trainer(0, world=2, clock=Clock(8, 10), heard=0.5)) == 0.5


@pytest.mark.parametrize("clock", [None, Clock(1, 10)])
def test_a_run_that_is_resumed_between_two_looks_at_the_clock_stands_where_it_stood(clock):
    task = build_task({"network": NETWORK})
    task._trainer = trainer(905, world=2, clock=clock)
    task.on_train_start()
    assert task.progress() == pytest.approx(0.905)
