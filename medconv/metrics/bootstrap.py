"""How far a mean over cases could have come out otherwise: percentile bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medconv.errors import ConfigError
from medconv.types import FloatArray

RESAMPLES = 9999
"""Draws of a bootstrap or a permutation test; the third digit of a limit is then of no account."""

_DRAWS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Interval:
    """A mean and the interval around it.

    Args:
        mean: Of the cases that have a value; nan if none has.
        low: Lower limit; nan where fewer than two cases have a value.
        high: Upper limit; likewise.
    """

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: Any, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean over cases with its percentile bootstrap interval.

    Cases are drawn, not voxels and not case × class: voxels and classes of one case depend on each other.
    Use it for any score with enough cases; with fewer than about ten the interval is too narrow.

    Args:
        values: ``(cases,)``; nan where a case has no value.
        confidence: Share of resamples inside the limits.
        resamples: How many.
        seed: Two calls with one seed and as many cases draw the same cases.

    Raises:
        ConfigError: A confidence outside 0 to 1, or fewer than one resample.

    Cost:
        10 ms for 200 cases.

    Example:
        >>> interval = bootstrap_interval([0.8, 0.9, 0.7, 0.9, 0.85])
        >>> round(interval.low, 4), round(interval.mean, 4), round(interval.high, 4)
        (0.76, 0.83, 0.89)

    Source: Efron, Annals of Statistics 1979.
    """
    column = np.asarray(values, dtype=np.float64)
    known = column[~np.isnan(column)]
    mean = float(np.mean(known)) if len(known) else np.nan
    if len(known) < 2:
        return Interval(mean, np.nan, np.nan)
    low, high = limits(resample_means(column[:, None], resamples, seed)[:, 0], confidence)
    return Interval(mean, low, high)


def resample_means(values: FloatArray, resamples: int = RESAMPLES, seed: int = 0) -> FloatArray:
    """Column means of resampled cases; every column sees the same draws.

    Args:
        values: ``(cases, columns)``; nan where a case has no value in a column.
        resamples: How many.
        seed: Of the draws.

    Shape:
        - Output ``(resamples, columns)``; nan where none of the cases drawn has a value.

    Raises:
        ConfigError: Fewer than one resample.
    """
    if resamples < 1:
        raise ConfigError(f"expected at least one resample, got {resamples}")
    n, rng = len(values), np.random.default_rng(seed)
    known, endless = ~np.isnan(values), np.isinf(values)
    finite = np.where(known & ~endless, values, 0.0)
    counted = known.astype(np.float64)
    parts = []
    for start in range(0, resamples, step := max(1, _DRAWS_AT_ONCE // n)):
        rows = min(step, resamples - start)
        draws = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        # how often each case was drawn turns the mean of a resample into one product of matrices
        weights = np.bincount(draws.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means = weights @ finite / (weights @ counted)
        if endless.any():
            means[weights @ endless > 0] = np.inf
        parts.append(means)
    return np.concatenate(parts)


def limits(samples: FloatArray, confidence: float = 0.95) -> tuple[float, float]:
    """The percentiles between which the middle share of samples lies; nan is left out.

    Raises:
        ConfigError: A confidence outside 0 to 1.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"expected a confidence between 0 and 1, got {confidence}")
    known = samples[~np.isnan(samples)]
    if not len(known):
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    # no interpolation: between two infinite means there is nothing to interpolate
    low, high = np.quantile(known, (tail, 1 - tail), method="inverted_cdf")
    return float(low), float(high)
