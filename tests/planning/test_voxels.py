from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medconv.io import discover
from medconv.planning.voxels import count_labels, in_parallel, read_voxels


@given(arrays(np.uint8, st.tuples(*[st.integers(0, 5)] * 3), elements=st.integers(0, 7)))
def test_counts_are_those_of_a_naive_loop(labels: np.ndarray) -> None:
    naive = {value: int((labels == value).sum()) for value in sorted(set(labels.ravel().tolist()))}
    assert count_labels(labels) == naive
    large = labels.astype(np.uint32) + 3_000_000_000
    assert count_labels(large) == {value + 3_000_000_000: n for value, n in naive.items()}


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_cases(tiny_dataset, threads: int) -> None:
    dataset, seen = discover(tiny_dataset), []

    def watch(cases):
        for case in cases:
            seen.append(case.case_id)
            yield case

    found, problems = read_voxels(dataset, {0}, watch=watch, threads=threads)
    assert seen == [case.case_id for case in dataset.cases]
    assert not problems
    assert [sorted(case.volumes_ml) for case in found] == [[1, 2]] * 4
    alone, _ = read_voxels(dataset, {0})
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one.foreground[0], other.foreground[0])


def test_no_image_is_read_where_only_volumes_are_wanted(tiny_dataset, monkeypatch) -> None:
    monkeypatch.setattr("medconv.planning.voxels.read_image", None)
    found, _ = read_voxels(discover(tiny_dataset), ())
    assert all(not case.foreground and case.volumes_ml for case in found)


def test_an_interruption_does_not_begin_what_waits(tiny_dataset) -> None:
    dataset, begun = discover(tiny_dataset), []

    def work(case):
        begun.append(case.case_id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_parallel(work, dataset.cases * 20, threads=1))
    assert len(begun) < 40
