from __future__ import annotations

from math import prod

import pytest
import torch

from medconv.errors import ConfigError
from medconv.ops import erdos_renyi_levels, global_levels, magnitude_mask, regrow

SHAPES = [(8, 4, 3, 3), (16, 8, 3, 3), (32, 16, 3, 3), (32, 32, 1, 1)]


def test_the_largest_stay() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 5, 3, 3)
    mask = magnitude_mask(weight, 0.8)
    assert int(mask.sum()) == round(0.2 * weight.numel())
    assert weight[mask].abs().min() >= weight[~mask].abs().max()


def test_regrowth_keeps_the_count_and_takes_the_most_wanted() -> None:
    torch.manual_seed(0)
    weight, score = torch.randn(200), torch.rand(200)
    mask = magnitude_mask(weight, 0.6)
    new, grown = regrow(weight, mask, score, 0.25)
    dropped = mask & ~new
    assert int(new.sum()) == int(mask.sum()) == 80
    assert 0 < int(grown.sum()) == int(dropped.sum()) <= 20
    assert not (grown & mask).any()
    stays = torch.zeros(200, dtype=torch.bool)
    stays[sorted(range(200), key=lambda i: -abs(weight[i]) if mask[i] else 1)[:60]] = True
    wanted = sorted((i for i in range(200) if not stays[i]), key=lambda i: -score[i])[:20]
    assert torch.equal(new, stays.index_fill(0, torch.tensor(wanted), True))


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_erdos_renyi_levels_sum_to_the_whole(sparsity: float) -> None:
    levels = erdos_renyi_levels(SHAPES, sparsity)
    sizes = [prod(shape) for shape in SHAPES]
    total = sum(level * size for level, size in zip(levels, sizes, strict=True))
    assert total == pytest.approx(sparsity * sum(sizes), abs=1e-6)
    assert all(-1e-9 <= level < 1 for level in levels)
    open_layers = [n for n, level in enumerate(levels) if level > 1e-9]
    ratios = [(1 - levels[n]) * sizes[n] / sum(SHAPES[n]) for n in open_layers]
    assert ratios == pytest.approx([ratios[0]] * len(ratios)) if ratios else sparsity == 0


def test_global_levels_keep_the_largest_of_all() -> None:
    torch.manual_seed(0)
    weights = [torch.randn(10, 10), 3 * torch.randn(5, 5)]
    levels = global_levels(weights, 0.5)
    kept = [round((1 - level) * w.numel()) for level, w in zip(levels, weights, strict=True)]
    assert sum(kept) == round(0.5 * 125)
    cut = torch.cat([w.flatten() for w in weights]).abs().sort(descending=True).values[sum(kept) - 1]
    assert kept == [int((w.abs() >= cut).sum()) for w in weights]


def test_a_level_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected sparsity from 0 up to, not including, 1"):
        erdos_renyi_levels(SHAPES, 1.0)
