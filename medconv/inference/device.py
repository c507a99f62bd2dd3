"""Where and in which precision a network runs: words from the user, decisions about the machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError
from medconv.inference.exact_float32 import exact_float32

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The device that ``name`` stands for on this machine.

    Args:
        name: ``"auto"`` (CUDA, else Apple's MPS, else CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises:
        ConfigError: No such device, or this machine has none of it.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    text = str(name)
    if text == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = text.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
        hint = did_you_mean(text, ("auto", "cpu", "cuda", "mps"))
        raise ConfigError(f"expected a device auto, cpu, cuda, cuda:N or mps, got {text!r}{hint}")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(index or 0) >= count:
        raise ConfigError(
            f"this machine has {count} {kind} device(s), got {text!r}; use --device auto or cpu"
        )
    if kind == "cuda":
        return torch.device("cuda", int(index) if index else torch.cuda.current_device())
    return torch.device(kind)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The number format that the network computes in on ``device``.

    Args:
        name: ``"auto"``: bf16 on CUDA that computes in it, fp16 on older CUDA, fp32 elsewhere; or
            ``"fp32"``, ``"bf16"``, ``"fp16"``.
        device: Where the network runs.

    Raises:
        ConfigError: Another name, or a format that brings nothing on this device.

    Example:
        >>> resolve_precision("auto", torch.device("cpu"))
        torch.float32
    """
    if name not in get_args(Precision):
        hint = did_you_mean(name, get_args(Precision))
        raise ConfigError(f"expected a precision of {', '.join(get_args(Precision))}, got {name!r}{hint}")
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        major, _ = torch.cuda.get_device_capability(device)
        return torch.bfloat16 if major >= 8 else torch.float16
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("fp16 is slower than fp32 on a CPU; use fp32 or bf16, or --device cuda")
    return _DTYPES[name]


def describe_device(device: torch.device) -> str:
    """A device in words.

    Example:
        >>> describe_device(torch.device("cpu")).startswith("cpu (")
        True
    """
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def describe_setting(
    device: torch.device, dtype: torch.dtype, mirrored_axes: Sequence[int] = (), turns: int = 1
) -> str:
    """Where and how networks compute, in words.

    Args:
        device: Where.
        dtype: In which numbers.
        mirrored_axes: Of copies that are averaged over.
        turns: Copies of each tile, mirrored and rotated ones.

    Example:
        >>> describe_setting(torch.device("mps"), torch.float32, (0, 1), 8)
        'mps, float32, mirrored along axes 0, 1, 8 turned copies'
    """
    text = f"{describe_device(device)}, {str(dtype).removeprefix('torch.')}"
    text += f", mirrored along axes {', '.join(map(str, mirrored_axes))}" if mirrored_axes else ""
    return f"{text}, {turns} turned copies" if turns > 2 ** len(mirrored_axes) else text


def mixed_precision(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a network computes in ``dtype``; float32 on a GPU is exact, see ``exact_float32``."""
    if dtype == torch.float32:
        return exact_float32() if device.type == "cuda" else nullcontext()
    return torch.autocast(device.type, dtype=dtype)
