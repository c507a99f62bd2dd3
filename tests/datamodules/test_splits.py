"""Laws of the splits: complete, disjoint, grouped, sized, and steady."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medconv.datamodules.splits import split_folds, split_fraction
from medconv.errors import ConfigError

SINGLES = [f"case_{i:03d}" for i in range(208)]
groups_of_cases = st.lists(st.integers(0, 30).map(str), min_size=4, max_size=60).filter(
    lambda g: len(set(g)) > 3
)


def names(groups, positions):
    return {groups[i] for i in positions}


@settings(max_examples=40)
@given(groups_of_cases, st.floats(0.05, 0.95), st.integers(0, 5))
def test_fraction_parts_are_disjoint_complete_and_never_part_a_group(groups, fraction, seed):
    split = split_fraction(groups, fraction, seed)
    assert sorted(split.train + split.validation) == list(range(len(groups)))
    assert split.train
    assert split.validation
    assert not names(groups, split.train) & names(groups, split.validation)


@settings(max_examples=40)
@given(groups_of_cases, st.integers(2, 3), st.integers(0, 5))
def test_every_case_validates_in_exactly_one_fold(groups, num_folds, seed):
    largest = max(groups.count(name) for name in groups)
    assume(largest * num_folds < len(groups))  # else a fold may be empty, which is refused (below)
    folds = [split_folds(groups, num_folds, fold, seed) for fold in range(num_folds)]
    assert sorted(i for split in folds for i in split.validation) == list(range(len(groups)))
    for split in folds:
        assert sorted(split.train + split.validation) == list(range(len(groups)))
        assert not names(groups, split.train) & names(groups, split.validation)


@pytest.mark.parametrize(("fraction", "size"), [(0.2, 42), (0.5, 104), (0.001, 1), (0.999, 207)])
def test_single_cases_give_exact_sizes(fraction, size):
    assert len(split_fraction(SINGLES, fraction, seed=0).validation) == size


def test_folds_of_single_cases_differ_by_one_at_most():
    sizes = {len(split_folds(SINGLES, 5, fold, seed=3).validation) for fold in range(5)}
    assert sizes <= {41, 42}


@given(st.permutations(range(20)), st.integers(0, 3))
def test_the_order_of_the_files_does_not_matter(order, seed):
    groups = SINGLES[:20]
    shuffled = [groups[i] for i in order]
    assert names(shuffled, split_fraction(shuffled, 0.3, seed).validation) == names(
        groups, split_fraction(groups, 0.3, seed).validation
    )


@pytest.mark.parametrize("size", [20, 23, 50])
def test_a_new_case_moves_at_most_one_other_across_a_cut(size):
    for new in range(60):
        old, grown = SINGLES[:size], [*SINGLES[:size], f"new_{new}"]
        before = names(old, split_fraction(old, 0.2, seed=0).validation)
        after = names(grown, split_fraction(grown, 0.2, seed=0).validation) - {f"new_{new}"}
        assert len(before ^ after) <= 1
        folds = [names(old, split_folds(old, 4, f, seed=0).validation) for f in range(4)]
        grown_folds = [names(grown, split_folds(grown, 4, f, seed=0).validation) for f in range(4)]
        moved = {name for one, two in zip(folds, grown_folds, strict=True) for name in (one ^ two)} - {
            f"new_{new}"
        }
        assert len(moved) <= 3  # one for each inner cut


def test_large_groups_stay_whole_and_the_size_stays_near():
    groups = [f"patient{i // 4}" for i in range(100)]
    split = split_fraction(groups, 0.2, seed=1)
    assert len(split.validation) == 20
    assert len({groups[i] for i in split.validation}) == 5


def test_another_seed_is_another_split():
    splits = {split_fraction(SINGLES, 0.2, seed).validation for seed in range(10)}
    assert len(splits) == 10


def test_the_split_is_the_same_for_ever():
    assert split_fraction(SINGLES[:12], 0.25, seed=0).validation == (0, 6, 11)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: split_fraction(SINGLES, 0.0, 0), "validation fraction between 0 and 1, got 0.0"),
        (lambda: split_fraction(["a", "a"], 0.5, 0), r"at least 2 groups to split, got 1 \(2 cases\)"),
        (lambda: split_folds(SINGLES, 5, 5, 0), "a fold from 0 to num_folds - 1, got 5 and 5"),
        (lambda: split_folds(SINGLES, 1, 0, 0), "expected num_folds >= 2"),
        (lambda: split_folds(SINGLES[:3], 5, 0, 0), "at least 5 groups to split, got 3"),
        (lambda: [split_folds(["a"] * 50 + ["b", "c"], 3, f, 0) for f in range(3)], "choose fewer folds"),
    ],
)
def test_impossible_splits_are_refused(build, text):
    with pytest.raises(ConfigError, match=text):
        build()
