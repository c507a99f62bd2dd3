"""Several processes ask rank 0 at the same steps, seldom, and end together."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer.connectors.signal_connector import _HandlersCompose, _SignalConnector
from lightning.pytorch.utilities.exceptions import SIGTERMException

from medconv.training.callbacks import shared_clock
from medconv.training.callbacks.shared_clock import SharedClock


class Rank:
    """A process of a run; steps take as long as its own clock says."""

    def __init__(self, number, asked, *, world=2, limit_s=None, step_s=0.01, patch):
        self.number, self.asked, self.step_s, self.now = number, asked, step_s, 100.0 * number
        self.callback = SharedClock()
        timer = [] if limit_s is None else [Timer(timedelta(seconds=limit_s))]
        self.loop = Loop()
        self.trainer = SimpleNamespace(
            world_size=world,
            callbacks=timer,
            received_sigterm=False,
            should_stop=False,
            fit_loop=SimpleNamespace(epoch_loop=self.loop),
            _signal_connector=SimpleNamespace(_sigterm_notifier_fn=refuse, received_sigterm=False),
            strategy=SimpleNamespace(broadcast=self._broadcast),
        )
        self.steps, self.patch = 0, patch
        self._at_my_time()
        for clock in timer:
            clock.on_train_start(self.trainer, None)
        self.callback.on_train_start(self.trainer, None)

    def step(self):
        self.now += self.step_s
        self.steps += 1
        self._at_my_time()
        self.loop._broadcast_sigterm_tensor()
        for clock in self.trainer.callbacks:
            clock.on_train_batch_end(self.trainer)
        self.callback.on_train_batch_end(self.trainer, None)

    def _at_my_time(self):
        self.patch.setattr(shared_clock, "perf_counter", lambda: self.now)
        self.patch.setattr("lightning.pytorch.callbacks.timer.time.monotonic", lambda: self.now)

    def _broadcast(self, value):
        """Rank 0, which goes first in each step, is heard by all."""
        if self.number == 0:
            self.asked.append((self.steps, value))
        assert self.asked[-1][0] == self.steps, "a process asks where the first does not"
        return self.asked[-1][1]


def refuse(*_):
    raise AssertionError("Lightning speaks to all processes in the middle of a step")


class Loop:
    asked = 0

    def _broadcast_sigterm_tensor(self):
        self.asked += 1


def run(ranks, steps):
    for _ in range(steps):
        for rank in ranks:
            rank.step()


def test_processes_ask_together_about_twice_a_second_whatever_their_own_clocks_say(monkeypatch):
    asked = []
    ranks = [Rank(n, asked, step_s=step_s, patch=monkeypatch) for n, step_s in enumerate((0.01, 0.3))]
    run(ranks, 1000)
    gaps = [after - before for (before, _), (after, _) in pairwise(asked)]
    assert max(gaps) <= 50
    assert len(asked) <= 2 + 1000 / 49
    assert [rank.loop.asked for rank in ranks] == [0, 0]


@pytest.mark.parametrize(("step_s", "latest_s"), [(0.01, 10.52), (0.4, 10.8), (3.0, 12.01)])
def test_a_time_limit_ends_all_at_one_step_half_a_second_late_at_most(step_s, latest_s, monkeypatch):
    asked = []
    ranks = [Rank(n, asked, limit_s=10, step_s=step_s, patch=monkeypatch) for n in range(3)]
    while not any(rank.trainer.should_stop for rank in ranks):
        run(ranks, 1)
        assert ranks[0].steps < 2000
    assert all(rank.trainer.should_stop for rank in ranks)
    assert 10 <= ranks[0].steps * step_s <= latest_s
    assert ranks[1].callback.time_share == ranks[0].callback.time_share >= 1


def test_all_end_where_the_first_was_told_to(monkeypatch):
    asked = []
    ranks = [Rank(n, asked, patch=monkeypatch) for n in range(2)]
    run(ranks, 10)
    ranks[0].trainer.received_sigterm = True
    ended = []
    for _ in range(100):
        for rank in ranks:
            try:
                rank.step()
            except SIGTERMException:
                ended.append((rank.number, rank.steps))
        if ended:
            break
    assert ended == [(0, ended[0][1]), (1, ended[0][1])]


def test_a_process_alone_keeps_what_lightning_does(monkeypatch):
    rank = Rank(0, [], world=1, limit_s=10, patch=monkeypatch)
    run([rank], 5)
    assert rank.loop.asked == 5
    assert not vars(rank.loop).get("_broadcast_sigterm_tensor")


def test_the_questions_are_given_back(monkeypatch):
    rank = Rank(0, [], limit_s=10, patch=monkeypatch)
    timer = rank.trainer.callbacks[0]
    assert {"_broadcast_sigterm_tensor"} <= set(vars(rank.loop))
    rank.callback.teardown(rank.trainer, None, "fit")
    assert not vars(rank.loop).get("_broadcast_sigterm_tensor")
    assert "_check_time_remaining" not in vars(timer)
    rank.callback.teardown(rank.trainer, None, "fit")  # and once more, as after a run that failed


def test_the_questions_are_given_back_after_an_error(monkeypatch):
    rank = Rank(0, [], limit_s=10, patch=monkeypatch)
    rank.callback.on_exception(rank.trainer, None, RuntimeError())
    assert not vars(rank.loop)
    assert "_check_time_remaining" not in vars(rank.trainer.callbacks[0])


@pytest.fixture
def handlers():
    """What Lightning sets for SIGTERM, with a handler of the user behind its own."""
    heard = []
    before = signal.signal(signal.SIGTERM, _HandlersCompose([refuse, lambda *_: heard.append(True)]))
    yield heard
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("at_end_of_epoch", [False, True])
def test_a_signal_is_noted_and_told_at_the_next_question(monkeypatch, handlers, at_end_of_epoch):
    ranks = [Rank(n, [], patch=monkeypatch) for n in range(1)]
    run(ranks, 10)
    os.kill(os.getpid(), signal.SIGTERM)
    assert handlers == [True]
    assert not ranks[0].trainer.received_sigterm  # or Lightning would leave the loop at once, alone
    if at_end_of_epoch:
        ranks[0].callback.on_train_epoch_end(ranks[0].trainer, None)
        assert ranks[0].trainer._signal_connector.received_sigterm
    else:
        with pytest.raises(SIGTERMException):
            run(ranks, 100)


def test_the_end_of_an_epoch_is_no_time_limit_and_no_end(monkeypatch):
    rank = Rank(0, [], limit_s=10, patch=monkeypatch)
    rank.now += 20
    rank.callback.on_train_epoch_end(rank.trainer, None)
    assert not rank.trainer.should_stop  # the next step does, after which the last weights are validated
    assert rank.trainer._signal_connector.received_sigterm is False
    run([rank], 1)
    assert rank.trainer.should_stop


def test_lightning_asks_by_these_names():
    """Another Lightning may call them otherwise: then steps of several GPUs wait again, and this says so."""
    assert callable(_TrainingEpochLoop._broadcast_sigterm_tensor)
    assert callable(Timer._check_time_remaining)
    assert callable(_SignalConnector._sigterm_notifier_fn)
    assert _HandlersCompose([refuse]).signal_handlers == [refuse]
