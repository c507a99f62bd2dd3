from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from medconv.errors import ConfigError
from medconv.metrics import bootstrap_interval
from medconv.metrics.bootstrap import limits, resample_means

SCORES = np.random.default_rng(3).beta(8, 2, 40)


def test_the_interval_is_that_of_scipy_up_to_the_draws() -> None:
    ours = bootstrap_interval(SCORES, resamples=40000)
    theirs = scipy.stats.bootstrap(
        (SCORES,), np.mean, method="percentile", n_resamples=40000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.mean == pytest.approx(SCORES.mean(), abs=1e-15)
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.03 * width)


def test_few_cases_give_the_exact_distribution_of_all_resamples() -> None:
    values = np.array([0.1, 0.4, 0.5, 0.95])
    every = [np.mean(draw) for draw in itertools.product(values, repeat=4)]
    drawn = resample_means(values[:, None], 60000)[:, 0]
    for cut in (0.31, 0.47, 0.61, 0.83):
        assert np.mean(drawn <= cut) == pytest.approx(np.mean(np.array(every) <= cut), abs=0.01)
    assert limits(drawn, 0.9) == pytest.approx(limits(np.array(every), 0.9), abs=1e-12)


def test_cases_without_a_value_count_in_no_mean() -> None:
    values = np.array([[0.2, np.nan], [0.6, 0.5], [np.nan, np.nan], [0.9, 0.7]])
    means, rng = resample_means(values, 300, seed=5), np.random.default_rng(5)
    for row, draw in zip(means, rng.integers(4, size=(300, 4)), strict=True):
        for column in range(2):
            known = [v for v in values[draw, column] if not np.isnan(v)]
            expected = np.mean(known) if known else np.nan
            np.testing.assert_allclose(row[column], expected, rtol=1e-12)


def test_splitting_the_draws_into_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = resample_means(SCORES[:, None], 100)
    monkeypatch.setattr("medconv.metrics.bootstrap._DRAWS_AT_ONCE", 7 * len(SCORES))
    np.testing.assert_allclose(resample_means(SCORES[:, None], 100), whole, rtol=1e-14)


def test_an_infinite_score_makes_an_infinite_upper_limit() -> None:
    interval = bootstrap_interval([*SCORES, np.inf])
    assert interval.mean == interval.high == np.inf
    assert np.isfinite(interval.low)


def test_too_few_cases_have_no_interval() -> None:
    one, none = bootstrap_interval([0.5, np.nan]), bootstrap_interval([np.nan])
    assert one.mean == 0.5
    assert np.isnan([one.low, one.high, none.mean, none.low, none.high]).all()
    constant = bootstrap_interval([0.5, 0.5, 0.5])
    assert (constant.low, constant.high) == (0.5, 0.5)


def test_misuse_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a confidence between 0 and 1, got 95"):
        bootstrap_interval(SCORES, confidence=95)
    with pytest.raises(ConfigError, match="expected at least one resample, got 0"):
        bootstrap_interval(SCORES, resamples=0)
