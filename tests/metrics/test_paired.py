from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from medconv.errors import ConfigError, ShapeError
from medconv.metrics import compare_paired, equivalence_p, holm, sign_flip_p, signed_rank_p


def grid_like(seed: int, n: int) -> np.ndarray:
    """Differences with ties and zeros, as scores on a grid have them."""
    return np.random.default_rng(seed).integers(-3, 5, n) * 0.25


@pytest.mark.parametrize("seed", range(6))
def test_few_differences_are_tested_exactly(seed: int) -> None:
    differences = grid_like(seed, 8)
    patterns = np.array(list(itertools.product([-1, 1], repeat=8)))
    means = np.abs((patterns * differences).mean(1))
    assert sign_flip_p(differences) == pytest.approx(np.mean(means >= abs(differences.mean()) - 1e-12))
    ranks = scipy.stats.rankdata(np.abs(differences)) * (differences != 0)
    sums = np.abs((patterns * np.sign(differences)) @ ranks)
    observed = abs(np.sign(differences) @ ranks)
    assert signed_rank_p(differences) == pytest.approx(np.mean(sums >= observed - 1e-9))


def test_the_permutation_test_is_that_of_scipy() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, 12)
    options = {"permutation_type": "samples", "n_resamples": np.inf}
    theirs = scipy.stats.permutation_test((differences,), np.mean, **options)
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_many_differences_are_drawn_and_agree_with_the_normal_limit() -> None:
    differences = np.random.default_rng(1).normal(0.15, 1, 200)
    z = differences.sum() / np.sqrt((differences**2).sum())
    expected = 2 * scipy.stats.norm.sf(abs(z))
    assert sign_flip_p(differences, resamples=20000) == pytest.approx(expected, abs=0.01)
    assert sign_flip_p(differences + 10) == 1 / 10000


@pytest.mark.parametrize("n", [6, 20, 49])
def test_without_ties_the_signed_rank_test_is_the_exact_one_of_scipy(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.2, 1, n)
    theirs = scipy.stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank_p(differences) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(("n", "rel"), [(300, 0.05), (700, 1e-9)])
def test_with_ties_and_many_cases_it_nears_the_normal_one_of_scipy(n: int, rel: float) -> None:
    differences = grid_like(2, n) - 0.05 * (np.arange(n) % 3 == 0)
    theirs = scipy.stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue
    assert signed_rank_p(differences) == pytest.approx(theirs, rel=rel)


def test_ties_that_only_rounding_parts_are_ties() -> None:
    assert 0.9 - 0.8 != 0.8 - 0.7
    rounded = signed_rank_p([0.9 - 0.8, 0.7 - 0.8, 0.3, 0.5])
    assert rounded == signed_rank_p([0.1, -0.1, 0.3, 0.5])


@pytest.mark.parametrize(("mean", "margin"), [(0.0, 0.5), (0.3, 0.5), (-0.7, 0.5), (0.1, 0.05)])
def test_equivalence_is_two_one_sided_t_tests(mean: float, margin: float) -> None:
    differences = np.random.default_rng(4).normal(mean, 0.4, 15)
    above = scipy.stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = scipy.stats.ttest_1samp(differences, margin, alternative="less").pvalue
    assert equivalence_p(differences, margin) == pytest.approx(max(above, below), rel=1e-9)


def test_differences_that_are_all_equal_are_within_the_margin_or_not() -> None:
    assert equivalence_p([0.1] * 5, 0.2) == 0
    assert equivalence_p([0.1] * 5, 0.1) == 1
    assert equivalence_p([0.0] * 5, 0.1) == 0
    assert np.isnan(equivalence_p([0.1], 0.2))


@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_the_step_down_procedure_rejects(seed: int) -> None:
    p = np.random.default_rng(seed).uniform(0, 0.1, 7)
    adjusted = holm(p)
    for level in np.linspace(0.001, 0.5, 60):
        rejected, order = set(), np.argsort(p)
        for step, index in enumerate(order):
            if p[index] > level / (len(p) - step):
                break
            rejected.add(index)
        assert set(np.flatnonzero(adjusted <= level)) == rejected
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p))).all()


def test_tests_that_were_not_made_cost_the_others_nothing() -> None:
    np.testing.assert_allclose(holm([np.nan, 0.02, np.nan]), [np.nan, 0.02, np.nan])
    assert holm([]).shape == (0,)


def test_a_comparison_pairs_what_both_have() -> None:
    first = np.array([0.5, np.nan, 0.7, 0.9, np.nan, 0.6])
    second = np.array([0.6, 0.4, 0.7, np.nan, np.nan, 0.9])
    result = compare_paired(first, second)
    assert (result.n, result.n_omitted, result.n_ties) == (3, 3, 1)
    assert (result.mean_first, result.mean_second) == pytest.approx((0.6, 2.2 / 3))
    assert (result.mean_difference, result.median_difference) == pytest.approx((0.4 / 3, 0.1))
    assert result.low <= result.mean_difference <= result.high
    assert result.p_permutation == sign_flip_p([0.1, 0, 0.3])
    assert result.p_wilcoxon == signed_rank_p([0.1, 0, 0.3])
    assert np.isnan([result.margin, result.p_equivalence]).all()


def test_swapping_the_sides_only_changes_the_sign() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(30), rng.random(30)
    there, back = compare_paired(first, second, 0.1), compare_paired(second, first, 0.1)
    assert there.mean_difference == pytest.approx(-back.mean_difference)
    assert there.p_permutation == back.p_permutation
    assert there.p_wilcoxon == pytest.approx(back.p_wilcoxon)
    assert there.p_equivalence == pytest.approx(back.p_equivalence)


def test_nothing_differs_or_nothing_is_there() -> None:
    same = compare_paired([0.5, 0.6], [0.5, 0.6])
    assert (same.p_permutation, same.p_wilcoxon, same.n_ties) == (1.0, 1.0, 2)
    empty = compare_paired([np.nan], [0.5])
    assert empty.n == 0
    assert np.isnan([empty.mean_first, empty.median_difference, empty.p_permutation, empty.p_wilcoxon]).all()


def test_misuse_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"two columns \(cases,\) of one length, got \(2,\) and \(3,\)"):
        compare_paired([1, 2], [1, 2, 3])
    with pytest.raises(ConfigError, match="expected finite scores, got infinite ones"):
        compare_paired([1, np.inf], [1, 2])
    with pytest.raises(ConfigError, match="expected a positive margin, got 0"):
        compare_paired([1, 2], [1, 2], margin=0)
