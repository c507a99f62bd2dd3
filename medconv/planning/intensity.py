"""The intensities of one channel over a whole dataset, for scales that mean the same in every scan (CT)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError


@dataclass(frozen=True)
class Intensity:
    """Foreground intensities of a channel over the training cases, in the unit of the images.

    Args:
        low: 0.5th percentile; lower values are clipped to it.
        high: 99.5th percentile; higher values are clipped to it.
        mean: Of the foreground voxels.
        std: Of the foreground voxels.

    Raises:
        ConfigError: A value that is not finite, ``low`` not below ``high``, or ``std`` not positive.
    """

    low: float
    high: float
    mean: float
    std: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ConfigError(f"intensity.{field.name}: expected a finite number, got {value!r}")
        if not self.low < self.high or not self.std > 0:
            raise ConfigError(
                f"intensity: expected low < high and std > 0, got {self}; plan the dataset again"
            )

    @classmethod
    def of_samples(cls, samples: Iterable[npt.NDArray[Any]]) -> Intensity:
        """Summarise foreground voxels of many cases.

        Args:
            samples: One array of intensities a case.

        Example:
            >>> Intensity.of_samples([np.arange(0, 500), np.arange(500, 1001)]).low
            5.0
        """
        values = np.concatenate([np.empty(0), *(np.ravel(sample) for sample in samples)])
        if values.size == 0:
            raise ConfigError(
                "expected foreground voxels to take intensities from, got none; are labels empty?"
            )
        low, high = np.percentile(values, (0.5, 99.5))
        return cls(float(low), float(high), float(values.mean()), float(values.std()))

    @classmethod
    def from_dict(cls, values: Any) -> Intensity:
        """The inverse of :meth:`to_dict`; refuses unknown and missing keys."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            unknown = [str(k) for k in values if k not in names] if isinstance(values, dict) else []
            hint = did_you_mean(unknown[0], names) if unknown else ""
            raise ConfigError(f"intensity: expected the keys {names}, got {values!r}{hint}")
        return cls(**values)

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)
