"""Values as JSON can say them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any


def without_infinities(value: Any) -> Any:
    """The same with ``None`` for NaN and infinity, which JSON cannot say.

    Example:
        >>> without_infinities({"a": [1.5, float("nan")]})
        {'a': [1.5, None]}
    """
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: without_infinities(item) for key, item in value.items()}
    return [without_infinities(item) for item in value] if isinstance(value, list | tuple) else value
