"""Samplers as pure functions: nothing lost, nothing twice, the same on every machine."""

from __future__ import annotations

from collections import Counter

import pytest
from torch.utils.data import DistributedSampler

from medconv.datamodules.samplers import EvaluationSampler, TrainingSampler
from medconv.errors import ConfigError


def sampler(**changes):
    arguments = {"num_cases": 7, "batch_size": 2, "steps_per_epoch": 6, "seed": 0, "foreground_share": 0.33}
    return TrainingSampler(**(arguments | changes))


def epochs(one, count):
    drawn = []
    for epoch in range(count):
        one.set_epoch(epoch)
        drawn.append(list(one))
    return drawn


def batches(samples, size):
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def test_an_epoch_is_the_same_whenever_it_is_asked_for():
    one, other = sampler(), sampler()
    expected = epochs(one, 3)
    other.set_epoch(2)
    assert list(other) == list(other) == expected[2]
    assert len(other) == len(expected[2]) == 12


def test_cases_come_equally_often_at_any_time():
    drawn = [s for epoch in epochs(sampler(), 5) for s in epoch]
    for end in range(1, len(drawn)):
        counts = Counter(s.case for s in drawn[:end])
        assert max(counts.values()) - min(counts[i] for i in range(7)) <= 1


def test_every_shuffling_is_another_one():
    drawn = [s.case for epoch in epochs(sampler(steps_per_epoch=70, batch_size=1), 1) for s in epoch]
    assert len({tuple(p) for p in batches(drawn, 7)}) == 10


def test_no_two_samples_of_a_run_share_a_key_and_seeds_differ():
    drawn = [s.key for epoch in epochs(sampler(), 20) for s in epoch]
    assert len(set(drawn)) == len(drawn)
    assert not set(drawn) & {s.key for epoch in epochs(sampler(seed=1), 20) for s in epoch}


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_out_exactly_what_one_process_would_draw(world):
    alone = epochs(sampler(), 2)
    ranks = [epochs(sampler(rank=r, world=world), 2) for r in range(world)]
    for epoch in range(2):
        shares = [batches(rank[epoch], 2) for rank in ranks]
        together = [s for step in zip(*shares, strict=True) for batch in step for s in batch]
        assert together == alone[epoch]


def test_steps_are_rounded_up_to_whole_steps_of_all_ranks():
    lengths = {len(sampler(rank=r, world=4, steps_per_epoch=6)) for r in range(4)}
    assert lengths == {2 * 2}


@pytest.mark.parametrize("done", [0, 1, 5])
def test_a_resumed_epoch_is_the_rest_of_the_unbroken_one(done):
    unbroken = epochs(sampler(), 4)
    resumed = sampler()
    resumed.resume(epoch=2, batches=done)
    assert list(resumed) == unbroken[2][done * 2 :]
    resumed.set_epoch(2)  # Lightning says so again before the epoch begins
    assert list(resumed) == unbroken[2][done * 2 :]
    assert len(resumed) == 12
    resumed.set_epoch(3)
    assert list(resumed) == unbroken[3]


def test_resuming_after_the_last_batch_is_the_next_epoch():
    unbroken = epochs(sampler(), 3)
    resumed = sampler()
    resumed.resume(epoch=1, batches=6)
    assert list(resumed) == unbroken[2]


@pytest.mark.parametrize("share", [0.0, 0.33, 0.5, 1.0])
def test_the_foreground_share_is_kept_evenly(share):
    drawn = [
        s.on_foreground
        for epoch in epochs(sampler(foreground_share=share, steps_per_epoch=50), 2)
        for s in epoch
    ]
    assert sum(drawn) == int(share * len(drawn))
    for start in range(0, len(drawn) - 10):
        assert abs(sum(drawn[start : start + 10]) - 10 * share) <= 1


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_evaluation_visits_each_case_exactly_once(world):
    ranks = [EvaluationSampler(5, rank=r, world=world) for r in range(world)]
    assert sorted(case for rank in ranks for case in rank) == list(range(5))
    assert [len(list(rank)) for rank in ranks] == [len(rank) for rank in ranks]


def test_lightning_takes_both_for_distributed_samplers():
    assert isinstance(sampler(), DistributedSampler)
    assert isinstance(EvaluationSampler(3), DistributedSampler)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"num_cases": 0}, "at least 1 training case, batch_size and steps_per_epoch, got 0, 2 and 6"),
        ({"batch_size": 0}, "got 7, 0 and 6"),
        ({"foreground_share": 1.5}, "foreground share between 0 and 1, got 1.5"),
    ],
)
def test_impossible_samplers_are_refused(change, text):
    with pytest.raises(ConfigError, match=text):
        sampler(**change)
