"""What building a network would allocate, found out before any of it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from medconv.errors import ConfigError

_FACTORIES = frozenset(
    ("empty", "zeros", "ones", "full", "rand", "randn", "new_empty", "new_zeros", "new_ones", "new_full")
)

_LARGE = 2**16
"""Larger tensors are neither filled nor changed in a rehearsal, so their memory is never touched."""


def require_affordable(build: Callable[[], object], limit_bytes: int) -> None:
    """Rehearse ``build`` without filling its tensors; refuse it if they add up to more than the limit.

    Args:
        build: Creates a network; it is called once and its result is thrown away.
        limit_bytes: Sum over all tensors that it asks for, also those that it frees again.

    Raises:
        ConfigError: At the first tensor that exceeds the limit.

    Cost:
        The time to build without drawing random weights; hardly any memory. Random numbers drawn later are
        the same as without it.

    Example:
        >>> require_affordable(lambda: torch.nn.Linear(10**6, 10**6), limit_bytes=2**30)
        Traceback (most recent call last):
        medconv.errors.ConfigError: expected a network of at most 1.0 GiB, got one that asks for more; ...
    """
    with torch.random.fork_rng(devices=[]), _Rehearsal(limit_bytes):
        build()


class _Rehearsal(TorchFunctionMode):
    """Counts what ``torch.empty``, ``zeros``, ``randn`` and their like are asked for."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self.limit_bytes = limit_bytes
        self.asked_bytes = 0

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _FACTORIES:
            size, dtype = _asked(args, kwargs)
            self._ask(prod(size) * dtype.itemsize)
            return torch.empty(size, dtype=dtype) if prod(size) > _LARGE else func(*args, **kwargs)
        changed = args[0] if args else kwargs.get("tensor")
        fills = name.endswith("_") and not name.endswith("__")
        if fills and isinstance(changed, Tensor) and changed.numel() > _LARGE:
            return changed
        return func(*args, **kwargs)

    def _ask(self, number_bytes: int) -> None:
        self.asked_bytes += number_bytes
        if self.asked_bytes > self.limit_bytes:
            raise ConfigError(
                f"expected a network of at most {self.limit_bytes / 2**30:.1f} GiB, got one that asks for "
                "more; reduce channels, kernel_sizes or the number of stages"
            )


def _asked(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[int, ...], torch.dtype]:
    """Size and type of the tensor that a call creates: ``zeros(2, 3)``, ``zeros((2, 3))``, ``x.new_zeros(2, 3)``."""
    dtype = torch.get_default_dtype()
    if args and isinstance(args[0], Tensor):
        dtype, args = args[0].dtype, args[1:]
    size = kwargs.get("size", args[0] if args and isinstance(args[0], list | tuple) else args)
    return tuple(size), kwargs.get("dtype") or dtype
