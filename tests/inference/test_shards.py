from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medconv.inference.inputs import InputCase, collect_inputs
from medconv.inference.shards import case_voxels, deal, shard_cases

NiftiFactory = Callable[..., Path]


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 7))
def test_every_item_is_in_exactly_one_shard_and_loads_are_even(sizes: list[int], count: int) -> None:
    shards = deal(sizes, count)
    assert sorted(item for shard in shards for item in shard) == list(range(len(sizes)))
    assert shards == deal(sizes, count)
    loads = [sum(sizes[item] for item in shard) for shard in shards]
    assert max(loads) - min(loads) <= max(sizes, default=0)


@pytest.fixture
def cases(tiny_nifti: NiftiFactory) -> list[InputCase]:
    for n in range(6):
        tiny_nifti(f"in/{n}.nii.gz", np.zeros((4, 4, n + 1), dtype=np.float32))
    path = tiny_nifti("in/broken.nii.gz")
    path.write_bytes(b"not gzip")
    return collect_inputs([path.parent])


def test_jobs_need_not_talk_to_share_the_cases(cases: list[InputCase]) -> None:
    shards = [shard_cases(cases, number, 3) for number in (1, 2, 3)]
    names = [[case.case_id for case in shard] for shard in shards]
    assert sorted(chain(*names)) == ["0", "1", "2", "3", "4", "5", "broken"]
    shuffled = [shard_cases(cases[::-1], number, 3) for number in (1, 2, 3)]
    assert [[case.case_id for case in shard] for shard in shuffled] == names
    loads = [sum(map(case_voxels, shard)) for shard in shards]
    assert max(loads) - min(loads) <= 16 * 1


def test_a_case_that_cannot_be_read_weighs_nothing_but_is_dealt(cases: list[InputCase]) -> None:
    assert {case.case_id: case_voxels(case) for case in cases}["broken"] == 0
