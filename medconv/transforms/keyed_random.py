"""Random numbers that are a function of a key: no state, no order, no worker that could repeat another.

A hash of (key, stream, position) takes the place of a generator. Two machines, two orders or two numbers of
workers then draw the same numbers for the same sample, and a resumed run draws what the unbroken one drew.

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (the finaliser).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

UInt64Array = npt.NDArray[np.uint64]

_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)


def hash_numbers(*parts: npt.ArrayLike) -> UInt64Array:
    """Hash integers, element by element, to 64 well-mixed bits.

    Args:
        parts: Integer scalars or arrays that broadcast together; negative numbers are allowed.

    Shape:
        The broadcast shape of all parts.

    Example:
        >>> bool(hash_numbers(1, 2) == hash_numbers(1, 2)), bool(hash_numbers(1, 2) == hash_numbers(2, 1))
        (True, False)
    """
    state = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):  # the arithmetic is modulo 2^64 on purpose
        for part in parts:
            state = np.asarray(_mix(state ^ np.asarray(part).astype(np.uint64)))
    return state


def uniform(keys: npt.ArrayLike, stream: int, size: int = 1) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1): ``size`` for every key.

    Args:
        keys: ``(B,)`` integers.
        stream: Which of many independent sequences; each use has its own number.
        size: Numbers for each key. A longer request starts with the same numbers as a shorter one.

    Shape:
        Output ``(B, size)``, float64.

    Example:
        >>> uniform([7, 8], stream=0, size=3).shape
        (2, 3)
    """
    bits = hash_numbers(np.asarray(keys)[:, None], stream, np.arange(size)[None])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample_key(seed: int, number: int) -> int:
    """The key of the ``number``-th training sample of a run with ``seed``: 0 ≤ key < 2^63, never twice alike.

    Example:
        >>> sample_key(0, 1) == sample_key(0, 1) != sample_key(1, 1)
        True
    """
    return int(hash_numbers(seed, number)) >> 1


def _mix(state: UInt64Array) -> UInt64Array:
    state = state + _INCREMENT
    state = (state ^ (state >> np.uint64(30))) * _FACTOR_1
    state = (state ^ (state >> np.uint64(27))) * _FACTOR_2
    return state ^ (state >> np.uint64(31))
