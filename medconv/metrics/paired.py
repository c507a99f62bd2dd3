"""Whether two results on the same cases differ, and whether they are as good as equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import erfc, inf, nan, sqrt
from typing import Any

import numpy as np
import scipy

from medconv.errors import ConfigError, ShapeError
from medconv.metrics.bootstrap import RESAMPLES, bootstrap_interval
from medconv.types import FloatArray

_ENUMERATED = 16
"""Up to so many differences every one of the 2ⁿ sign patterns is looked at."""

_EXACT_RANKS = 500
"""Up to so many differences the distribution of the signed-rank sum is computed, beyond it is normal."""


@dataclass(frozen=True)
class PairedComparison:
    """What separates two results on the same cases; every difference is second minus first.

    Args:
        n: Cases with a value on both sides.
        n_omitted: Cases without one on either side.
        n_ties: Cases of ``n`` in which both are equal.
        mean_first: Over the ``n`` cases.
        mean_second: Likewise.
        mean_difference: Likewise.
        low: Lower limit of the 95 % bootstrap interval of ``mean_difference``.
        high: Upper limit.
        median_difference: Over the ``n`` cases.
        p_permutation: Of ``sign_flip_p``.
        p_wilcoxon: Of ``signed_rank_p``.
        margin: Largest difference of no importance; nan if none was named.
        p_equivalence: Of ``equivalence_p``; nan without a margin.
    """

    n: int
    n_omitted: int
    n_ties: int
    mean_first: float
    mean_second: float
    mean_difference: float
    low: float
    high: float
    median_difference: float
    p_permutation: float
    p_wilcoxon: float
    margin: float
    p_equivalence: float


def compare_paired(first: Any, second: Any, margin: float | None = None, seed: int = 0) -> PairedComparison:
    """Compare two columns of scores, one pair a case.

    Args:
        first: ``(cases,)``; nan where a case has no value.
        second: The same cases in the same order.
        margin: Largest difference of no importance, for the test of equivalence.
        seed: Of the bootstrap and of permutations that are too many to enumerate.

    Raises:
        ShapeError: The columns differ in length or have more than one axis.
        ConfigError: An infinite value, which has no difference to another, or a margin that is not positive.

    Example:
        >>> result = compare_paired([0.80, 0.85, 0.90, 0.70], [0.82, 0.85, 0.93, 0.74], margin=0.1)
        >>> result.n, result.n_ties, round(result.mean_difference, 4), round(result.p_equivalence, 4)
        (4, 1, 0.0225, 0.0014)
    """
    before, after = (np.asarray(side, dtype=np.float64) for side in (first, second))
    if before.shape != after.shape or before.ndim != 1:
        raise ShapeError(f"expected two columns (cases,) of one length, got {before.shape} and {after.shape}")
    if np.isinf(before).any() or np.isinf(after).any():
        raise ConfigError(
            "expected finite scores, got infinite ones; compare with the image's diagonal for what is missed"
        )
    known = ~(np.isnan(before) | np.isnan(after))
    before, after = before[known], after[known]
    differences = after - before
    interval = bootstrap_interval(differences, seed=seed)
    some = len(differences) > 0
    return PairedComparison(
        n=len(differences),
        n_omitted=int((~known).sum()),
        n_ties=int((differences == 0).sum()),
        mean_first=float(before.mean()) if some else nan,
        mean_second=float(after.mean()) if some else nan,
        mean_difference=interval.mean,
        low=interval.low,
        high=interval.high,
        median_difference=float(np.median(differences)) if some else nan,
        p_permutation=sign_flip_p(differences, seed=seed),
        p_wilcoxon=signed_rank_p(differences),
        margin=nan if margin is None else margin,
        p_equivalence=nan if margin is None else equivalence_p(differences, margin),
    )


def sign_flip_p(differences: Any, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p of the paired permutation test of the mean difference.

    If the two sides were exchangeable within each case, every sign of every difference would be as likely as
    the other; p is the share of sign patterns with a mean at least as far from 0. It asks for no normal
    distribution. Exact up to 16 differences other than 0 (n = 5 cannot fall below 0.0625); beyond, of
    ``resamples`` random patterns and the one observed.

    Args:
        differences: ``(cases,)``, finite.
        resamples: Random patterns where there are too many to enumerate.
        seed: Of these patterns.

    Returns:
        1 if nothing differs, nan without any case.

    Example:
        >>> sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5])
        0.0625

    Source: Fisher, The Design of Experiments, 1935.
    """
    column = np.asarray(differences, dtype=np.float64)
    sizes = np.abs(column[column != 0])
    if not len(sizes):
        return 1.0 if len(column) else nan
    # the observed pattern and its mirror image must not be lost to rounding
    least = abs(column.sum()) - 1e-12 * sizes.sum()
    exact = len(sizes) <= _ENUMERATED
    patterns = _all_signs(len(sizes)) if exact else _random_signs(len(sizes), resamples, seed)
    hits = total = 0
    for signs in patterns:
        hits += int((np.abs(signs @ sizes) >= least).sum())
        total += len(signs)
    return hits / total if exact else (hits + 1) / (total + 1)


def _all_signs(n: int) -> Iterator[FloatArray]:
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    yield np.where(bits, 1.0, -1.0)


def _random_signs(n: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    rng, step = np.random.default_rng(seed), max(1, 2**20 // n)
    for start in range(0, resamples, step):
        yield np.where(rng.integers(0, 2, (min(step, resamples - start), n)), 1.0, -1.0)


def signed_rank_p(differences: Any) -> float:
    """Two-sided p of the Wilcoxon signed-rank test, exact with ties and zeros.

    Equal sizes share the mean of their ranks, zeros are ranked and then left out (Pratt), and the
    distribution of the rank sum is that of exactly these ranks: segmentation scores tie often, at Dice 0, at
    1, and at the few distances that a grid allows. Where the sizes of the differences do not matter, only
    their order, use it; ``sign_flip_p`` tests the mean.

    Args:
        differences: ``(cases,)``, finite.

    Returns:
        1 if nothing differs, nan without any case.

    Cost:
        Quadratic memory-light convolution up to 500 differences (0.2 s), a normal approximation beyond.

    Example:
        >>> signed_rank_p([0.0, 0.2, 0.2, -0.1, 0.5])
        0.25

    Source: Wilcoxon, Biometrics Bulletin 1945; Pratt, JASA 1959.
    """
    column = np.asarray(differences, dtype=np.float64)
    if not np.any(column):
        return 1.0 if len(column) else nan
    doubled = _doubled_ranks(np.abs(column))[column != 0]
    signs = np.sign(column[column != 0])
    observed = abs(float(signs @ doubled))
    if len(doubled) > _EXACT_RANKS:
        return erfc(observed / sqrt(2 * float(doubled @ doubled)))
    chance = np.zeros(int(doubled.sum()) + 1)
    chance[0], top = 1.0, 0
    for rank in doubled.astype(int):
        chance[rank : top + rank + 1] = chance[rank : top + rank + 1] + chance[: top + 1]
        chance[: top + rank + 1] /= 2
        top += rank
    balance = np.abs(2 * np.arange(top + 1) - top)
    return float(min(1.0, chance[balance >= observed].sum()))


def _doubled_ranks(sizes: FloatArray) -> FloatArray:
    """Twice the rank of each size, 1 for the smallest; equal sizes share the mean, so doubled it is whole."""
    # differences of scores that are equal on paper differ in the last bits: 0.9 - 0.8 and 0.8 - 0.7
    rounded = np.round(sizes, 12)
    _, place, count = np.unique(rounded, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    doubled: FloatArray = (2 * last - count + 1).astype(np.float64)
    return doubled[place]


def equivalence_p(differences: Any, margin: float) -> float:
    """P of two one-sided t tests (TOST): small where the mean difference lies within ± the margin.

    That a test shows no difference does not show that there is none; this does. Use it to claim "as good as",
    with a margin fixed before looking.

    Args:
        differences: ``(cases,)``, finite.
        margin: Largest difference of no importance, in the unit of the differences.

    Returns:
        The larger of the two one-sided p; nan with fewer than two cases.

    Raises:
        ConfigError: A margin that is not positive.

    Example:
        >>> round(equivalence_p([0.01, -0.02, 0.0, 0.01, -0.01], margin=0.05), 6)
        0.000594

    Source: Schuirmann, J. Pharmacokinetics and Biopharmaceutics 1987.
    """
    if not 0 < margin < inf:
        raise ConfigError(f"expected a positive margin, got {margin}")
    column = np.asarray(differences, dtype=np.float64)
    if len(column) < 2:
        return nan
    mean, error = float(column.mean()), float(column.std(ddof=1)) / sqrt(len(column))
    room = margin - abs(mean)
    if error <= 1e-15 * abs(mean):
        return 0.0 if room > 0 else 1.0
    return float(scipy.special.stdtr(len(column) - 1, -room / error))


def holm(p_values: Any) -> FloatArray:
    """Holm's adjustment for several tests: the adjusted p of one is small only if it is small among all.

    Args:
        p_values: ``(tests,)``; nan stands for a test that was not made, and stays.

    Example:
        >>> holm([0.01, 0.04, 0.03, np.nan])
        array([0.03, 0.06, 0.06,  nan])

    Source: Holm, Scandinavian Journal of Statistics 1979.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    adjusted = raw.copy()
    made = np.flatnonzero(~np.isnan(raw))
    order = made[np.argsort(raw[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * factors))
    return adjusted
