"""The network as a ``torch.export`` program: a graph without Python, for any batch and any size that it permits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from medconv.errors import ConfigError
from medconv.export.culprit import name_culprit
from medconv.models import SegmentationModel


@dataclass(frozen=True)
class Freedom:
    """Which inputs a program takes.

    Args:
        is_batch_free: Any number of patches at once; else one.
        multiples: Sizes may be any multiple (from twice) of these numbers; ``None``: only ``size``.
        size: The spatial shape that the program was made with.
    """

    is_batch_free: bool
    multiples: tuple[int, ...] | None
    size: tuple[int, ...]

    def __str__(self) -> str:
        batch = "any batch" if self.is_batch_free else "one patch at a time"
        if self.multiples is None:
            return f"{batch}, {_product_sign(self.size)} voxels"
        least = [2 * multiple for multiple in self.multiples]
        return f"{batch}, sizes in multiples of {_product_sign(self.multiples)} from {_product_sign(least)}"

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes ``(B, *S)`` to check the program with: its own, and another where it permits one."""
        own = (1, *self.size)
        other = tuple(2 * multiple for multiple in self.multiples) if self.multiples else self.size
        second = (2 if self.is_batch_free else 1, *other)
        return [own, second] if second != own else [own]


def build_program(network: SegmentationModel, patch_size: Sequence[int]) -> tuple[ExportedProgram, Freedom]:
    """Trace a network, as freely as it permits: first any batch and size, at last one patch of one size.

    Args:
        network: Folded, in evaluation mode.
        patch_size: ``*P`` of the plan, for networks that permit no other.

    Raises:
        ConfigError: It cannot be traced at all; the layer that prevents it is named.

    Cost:
        Seconds to a minute; no more memory than the network and a patch.
    """
    problem: Exception | None = None
    for freedom in _freedoms(network.divisor, patch_size):
        batch = 2 if freedom.is_batch_free else 1
        example = torch.zeros(batch, network.in_channels, *freedom.size)
        try:
            with _quiet(), torch.no_grad():
                program = torch.export.export(
                    network, (example,), dynamic_shapes=(_dynamic_shapes(freedom),), strict=False
                )
            return program, freedom
        except Exception as error:  # torch raises many kinds for a graph that it cannot free or make
            problem = error
    example = torch.zeros(1, network.in_channels, *patch_size)
    raise ConfigError(
        f"torch.export cannot trace this network: {name_culprit(network, example)}; export it as safetensors, "
        "or train it with another operator"
    ) from problem


def write_program(program: ExportedProgram, path: Path, notes: dict[str, str]) -> None:
    """Write a program as ``.pt2``; ``notes`` travel inside it as small files."""
    with _quiet():
        torch.export.save(program, path, extra_files=notes)


def read_program(path: Path) -> Callable[[Tensor], Tensor]:
    """The function in a ``.pt2`` file."""
    with _quiet():
        module = torch.export.load(path).module()
    return module  # type: ignore[no-any-return]


def _product_sign(numbers: Sequence[int]) -> str:
    return "×".join(map(str, numbers))


def _freedoms(divisor: Sequence[int], patch_size: Sequence[int]) -> Iterator[Freedom]:
    multiples = tuple(divisor)
    # without padding inside: a graph has no place for a decision about sizes
    rounded = tuple(
        max(2, -(-size // multiple)) * multiple for size, multiple in zip(patch_size, divisor, strict=True)
    )
    yield Freedom(True, multiples, rounded)
    yield Freedom(False, multiples, rounded)
    yield Freedom(True, None, tuple(patch_size))
    yield Freedom(False, None, tuple(patch_size))


def _dynamic_shapes(freedom: Freedom) -> dict[int, Any]:
    shapes: dict[int, Any] = {0: Dim("batch", min=1)} if freedom.is_batch_free else {}
    for axis, multiple in enumerate(freedom.multiples or (), start=2):
        cells = Dim(f"cells_{axis - 2}", min=2)
        shapes[axis] = multiple * cells if multiple > 1 else cells
    return shapes


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings in which torch speaks about its own insides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
