"""Numbers that follow from keys: even, independent, and the same for ever."""

from __future__ import annotations

import numpy as np
from scipy import stats

from medconv.transforms.keyed_random import hash_numbers, sample_key, uniform


def naive_splitmix64(state: int) -> int:
    mask = 2**64 - 1
    z = (state + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_hash_is_splitmix64_in_plain_integers():
    # 0xE220A8397B1DCDAF is the published first output of splitmix64 for seed 0
    assert int(hash_numbers(0)) == naive_splitmix64(0) == 0xE220A8397B1DCDAF
    assert int(hash_numbers(5, 9)) == naive_splitmix64(naive_splitmix64(5) ^ 9)
    assert int(hash_numbers(-3)) == naive_splitmix64(2**64 - 3)


def test_neighbouring_keys_give_even_and_unrelated_numbers():
    numbers = uniform(np.arange(20_000), stream=3, size=2)
    assert stats.kstest(numbers[:, 0], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.03
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.03
    assert abs(np.corrcoef(numbers[:, 0], uniform(np.arange(20_000), stream=4)[:, 0])[0, 1]) < 0.03


def test_a_number_depends_on_its_own_key_only():
    alone = uniform([11], stream=0, size=4)
    np.testing.assert_array_equal(uniform([3, 11, 5], stream=0, size=4)[1], alone[0])
    np.testing.assert_array_equal(uniform([11], stream=0, size=9)[:, :4], alone)


def test_numbers_never_change_between_versions():
    np.testing.assert_allclose(
        uniform([0, 1], stream=2, size=2),
        [[0.8357022799528567, 0.3193228892287364], [0.9006109088931584, 0.7190726062412859]],
        rtol=1e-15,
    )


def test_sample_keys_fit_int64_and_do_not_repeat():
    keys = [sample_key(seed, number) for seed in range(20) for number in range(1000)]
    assert len(set(keys)) == len(keys)
    assert min(keys) >= 0
    assert max(keys) < 2**63
