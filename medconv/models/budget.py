"""What building a network would allocate, found out before any of it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from medconv.errors import ConfigError

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


class _Rehearsal(TorchDispatchMode):
    """Counts what ``torch.empty``, ``zeros``, ``randn`` and their like are asked for."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self.limit_bytes = limit_bytes
        self.asked_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        first = args[0] if args else None
        if isinstance(first, list | tuple) and all(isinstance(n, int) for n in first):
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            self._ask(prod(first) * dtype.itemsize)
            if prod(first) > _LARGE:
                return torch.ops.aten.empty.memory_format(first, dtype=dtype)
        in_place = func.overloadpacket.__name__.endswith("_")
        if in_place and isinstance(first, Tensor) and first.numel() > _LARGE:
            return first
        return func(*args, **kwargs)

    def _ask(self, number_bytes: int) -> None:
        self.asked_bytes += number_bytes
        if self.asked_bytes > self.limit_bytes:
            raise ConfigError(
                f"expected a network of at most {self.limit_bytes / 2**30:.1f} GiB, got one that asks "
                "for more; reduce channels, kernel_sizes or the number of stages"
            )
