"""A run that can make next to no steps says so while there is time to stop it."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer

from medconv.training import FewSteps
from medconv.training.callbacks import few_steps


def told(caplog, monkeypatch, step_s: float, limit_s: float | None, device: str = "cpu") -> list[str]:
    """What is logged in a run of 60 steps of this length."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(few_steps, "perf_counter", lambda: clock.now)
    timer = Timer(duration={"seconds": 1.0})
    monkeypatch.setattr(timer, "time_remaining", lambda: limit_s - clock.now)
    trainer = SimpleNamespace(
        callbacks=[] if limit_s is None else [timer], global_step=0, is_global_zero=True
    )
    watcher = FewSteps()
    with caplog.at_level(logging.WARNING, "medconv"):
        for _ in range(60):
            clock.now += step_s
            trainer.global_step += 1
            watcher.on_train_batch_end(trainer, SimpleNamespace(device=device), None, None, 0)
    return caplog.messages


def test_slow_steps_are_told_once_with_their_number(caplog, monkeypatch):
    (text,) = told(caplog, monkeypatch, step_s=30.0, limit_s=900.0)
    assert text == (
        "only about 30 steps fit into max_time, at 30.0 s a step on cpu: the network will learn next to nothing; "
        "give more time, or a smaller network, patch or batch "
        "(overlays hippocampus_small, nuclei_small, membrane_small)"
    )


def test_another_device_is_offered_no_overlay(caplog, monkeypatch):
    (text,) = told(caplog, monkeypatch, step_s=2.0, limit_s=100.0, device="cuda:0")
    assert text.endswith(
        "on cuda:0: the network will learn next to nothing; give more time, or a smaller network, patch or batch"
    )


@pytest.mark.parametrize(("step_s", "limit_s"), [(0.1, 3600.0), (30.0, None), (2.0, 201.0)])
def test_nothing_is_said_where_steps_suffice_or_nothing_limits_them(caplog, monkeypatch, step_s, limit_s):
    assert told(caplog, monkeypatch, step_s, limit_s) == []


def test_a_first_step_that_compiles_is_not_counted(caplog, monkeypatch):
    watcher, clock = FewSteps(), SimpleNamespace(now=0.0)
    monkeypatch.setattr(few_steps, "perf_counter", lambda: clock.now)
    timer = Timer(duration={"seconds": 1.0})
    monkeypatch.setattr(timer, "time_remaining", lambda: 600.0 - clock.now)
    trainer = SimpleNamespace(callbacks=[timer], global_step=1, is_global_zero=True)
    for step_s in (90.0, *[1.0] * 8):
        clock.now += step_s
        watcher.on_train_batch_end(trainer, SimpleNamespace(device="cpu"), None, None, 0)
    assert caplog.messages == []
