from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from medconv.errors import ConfigError
from medconv.training.optim import build_optimizer, learning_rate_factor


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["poly", "cosine"]), st.sampled_from([0.0, 0.1]))
def test_rate_never_rises_after_the_warmup(a, b, schedule, warmup):
    early, late = sorted((max(a, warmup), max(b, warmup)))
    assert (
        learning_rate_factor(late, schedule, warmup) <= learning_rate_factor(early, schedule, warmup) + 1e-12
    )


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_rate_starts_at_the_peak_and_ends_at_zero(schedule):
    assert learning_rate_factor(0.0, schedule) == 1.0
    assert learning_rate_factor(1.0, schedule) == pytest.approx(0.0, abs=1e-12)
    assert learning_rate_factor(7.0, schedule) == pytest.approx(0.0, abs=1e-12)


def test_poly_is_nnunets_curve():
    torch_poly = [(1 - step / 100) ** 0.9 for step in range(100)]
    assert [learning_rate_factor(step / 100, "poly") for step in range(100)] == pytest.approx(torch_poly)


def test_cosine_equals_pytorchs_annealing():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert learning_rate_factor(step / 20, "cosine") == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_warmup_rises_linearly_from_zero():
    assert [learning_rate_factor(t, "constant", 0.2) for t in (0.0, 0.1, 0.2, 0.9)] == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_norms_and_biases_are_not_decayed_and_nothing_is_lost(name):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2, affine=True))
    optimizer = build_optimizer(network, name, lr=0.1, weight_decay=0.5, momentum=0.9)
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(network[0].weight)}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(network.parameters()))


def test_a_frozen_network_is_refused():
    network = nn.Conv2d(1, 1, 1).requires_grad_(False)
    with pytest.raises(ConfigError, match="is everything frozen"):
        build_optimizer(network, "sgd", 0.1, 0.0, 0.9)
