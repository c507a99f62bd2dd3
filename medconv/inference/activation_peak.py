"""How much memory a network needs for one tile, found by letting shapes through it instead of numbers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medconv.inference.network_copy import copy_with

CPU = torch.device("cpu")

_SMALL_TILE = 2**18
"""Values of a tile up to which a pass is quicker than loading the part of PyTorch that works on shapes."""


def activation_peak_bytes(
    network: Callable[[Tensor], Tensor], shape: Sequence[int], device: torch.device = CPU
) -> int:
    """The most bytes that a forward pass holds at once beside the weights, in float32.

    Counted are all maps that are alive at the same time and, around a convolution, a second copy of what goes in
    and comes out, which is what libraries take as workspace to lay it out anew. In half precision it is an upper
    bound.

    On a GPU it is measured in a real pass, in the precision that ``network`` has there.

    Args:
        network: Maps a tile to scores.
        shape: ``(B, C, *P)`` of the tile.
        device: Where the network is.

    Cost:
        One pass over the tile; for large tiles on a processor no pass: shapes alone go through the network.

    Example:
        >>> activation_peak_bytes(nn.ReLU(), (1, 1, 8, 8)), activation_peak_bytes(nn.Conv2d(1, 1, 1), (1, 1, 8, 8))
        (512, 1024)
    """
    try:
        if device.type == "cuda":
            return _peak_on_cuda(network, torch.zeros(tuple(shape), device=device))
        if prod(shape) > _SMALL_TILE:
            try:
                return _peak(_without_values(network), torch.empty(tuple(shape), device="meta"))
            except (RuntimeError, TypeError, ValueError):  # it asks for values: it is given some
                pass
        return _peak(network, torch.zeros(tuple(shape), device=device))
    except torch.OutOfMemoryError:
        return 0  # nothing to plan with; the predictor finds out what fits by trying


@torch.inference_mode()
def _peak_on_cuda(network: Callable[[Tensor], Tensor], tile: Tensor) -> int:
    torch.cuda.synchronize(tile.device)
    torch.cuda.reset_peak_memory_stats(tile.device)
    before = torch.cuda.memory_allocated(tile.device)
    network(tile)
    return torch.cuda.max_memory_allocated(tile.device) - before


def _without_values(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if not isinstance(network, nn.Module):
        return network
    return copy_with(network, _shape_alone)


def _shape_alone(tensor: Tensor) -> Tensor:
    return torch.empty_like(
        tensor, device="meta", dtype=torch.float32 if tensor.is_floating_point() else None
    )


@torch.no_grad()
def _peak(network: Callable[[Tensor], Tensor], tile: Tensor) -> int:
    with _LiveBytes() as live:
        live.note(tile)
        network(tile)
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Adds up the storages that are alive, after each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._alive: dict[int, Any] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and loading the compiler takes seconds

    def note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive[key] = weakref.ref(storage, lambda _: self._forget(key, size))
        self._now += size
        self.peak = max(self.peak, self._now)

    def _forget(self, key: int, size: int) -> None:
        if self._alive.pop(key, None) is not None:
            self._now -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for output in outputs:
            self.note(output)
        if "convolution" in func.__name__:
            laid_out = sum(t.numel() * t.element_size() for t in (args[0], *outputs))
            self.peak = max(self.peak, self._now + laid_out)
        return result
