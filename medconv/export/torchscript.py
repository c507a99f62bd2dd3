"""The network as TorchScript: the one form that MONAI Label and MONAI's deployment tools load without its source."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from medconv.errors import ConfigError
from medconv.models import SegmentationModel

_AGREE = 1e-3


def write_torchscript(network: SegmentationModel, patch_size: Sequence[int], path: Path) -> bool:
    """Trace a network at one patch and write it.

    PyTorch has deprecated TorchScript in favour of ``torch.export``, but what MONAI's tools read is
    ``models/model.ts``; so it is written for them, and only for them.

    Args:
        network: Folded, in evaluation mode, on the CPU.
        patch_size: ``*P``; every input must have it.
        path: The file.

    Returns:
        Whether it takes several patches at once; an operator that builds a kernel for each image may not.

    Raises:
        ConfigError: It cannot be traced.
    """
    patch = torch.zeros(1, network.in_channels, *patch_size)
    try:
        with _quiet(), torch.no_grad():
            script = torch.jit.trace(network, patch, check_trace=False)
            torch.jit.save(script, path)
    except Exception as error:  # tracing fails in many ways
        text = str(error).strip().splitlines()
        raise ConfigError(
            f"this network cannot be traced as TorchScript, which a MONAI bundle needs "
            f"({text[0] if text else type(error).__name__}); export it with --to torch or safetensors"
        ) from error
    return _takes_batches(network, read_torchscript(path), patch.shape)


def read_torchscript(path: Path) -> Callable[[Tensor], Tensor]:
    """The function in a TorchScript file."""
    with _quiet():
        module = torch.jit.load(path, map_location="cpu")
    return module  # type: ignore[no-any-return]


def _takes_batches(
    network: SegmentationModel, script: Callable[[Tensor], Tensor], shape: Sequence[int]
) -> bool:
    patches = torch.randn(2, *shape[1:], generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode(), _quiet():
            return torch.allclose(script(patches), network(patches), atol=_AGREE)
    except RuntimeError:
        return False


def _quiet() -> warnings.catch_warnings:
    """Without the notes that TorchScript is deprecated and that sizes are fixed, both meant here."""
    return warnings.catch_warnings(action="ignore")
