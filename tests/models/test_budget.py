from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from medconv.errors import ConfigError
from medconv.models.budget import require_affordable
from medconv.ops import SymmetricConv


def affordable(build: Callable[[], object], limit_bytes: int) -> bool:
    try:
        require_affordable(build, limit_bytes)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("size", [20, 2000])
def test_the_limit_is_the_sum_of_what_is_asked_for(size: int) -> None:
    asked = 4 * size * (size + 1)
    assert affordable(lambda: nn.Linear(size, size), asked)
    assert not affordable(lambda: nn.Linear(size, size), asked - 1)


def test_many_small_tensors_are_added_up() -> None:
    assert affordable(lambda: [nn.Linear(20, 20) for _ in range(5)], 10_000)
    assert not affordable(lambda: [nn.Linear(20, 20) for _ in range(6)], 10_000)


def test_a_huge_tensor_is_refused_before_it_is_created() -> None:
    few = torch.zeros(1)
    for create in (
        torch.empty,
        torch.zeros,
        torch.ones,
        torch.randn,
        torch.rand,
        few.new_zeros,
        few.new_empty,
    ):
        with pytest.raises(ConfigError, match=r"of at most .* GiB, got one that asks for more"):
            require_affordable(lambda create=create: create(2**50), 10_000)  # type: ignore[misc]


def test_the_dtype_counts() -> None:
    assert affordable(lambda: torch.zeros(100_000, dtype=torch.int8), 100_000)
    assert not affordable(lambda: torch.zeros(100_000, dtype=torch.float64), 799_999)
    half = torch.zeros(1, dtype=torch.float16)
    assert affordable(lambda: half.new_full((100, 1000), 3), 200_000)
    assert not affordable(lambda: half.new_full((100, 1000), 3), 199_999)


def test_every_way_to_give_a_size_counts() -> None:
    for create in (
        lambda: torch.zeros(10, 10),
        lambda: torch.zeros([10, 10]),
        lambda: torch.zeros(size=(10, 10)),
    ):
        assert affordable(create, 400)
        assert not affordable(create, 399)


def test_rehearsing_draws_no_random_weights_and_keeps_later_ones() -> None:
    start = time.process_time()
    require_affordable(lambda: nn.Linear(40_000, 20_000), 2**32)  # 3.2 GB, seconds to fill
    assert time.process_time() - start < 1
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    require_affordable(lambda: SymmetricConv(2, 4, 4), 2**20)
    assert torch.equal(torch.randn(3), expected)


def test_an_error_in_building_stays_itself() -> None:
    with pytest.raises(ConfigError, match="no 2-D symmetry group 'O'"):
        require_affordable(lambda: SymmetricConv(2, 4, 4, group="O"), 2**20)
