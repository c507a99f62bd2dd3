"""Which layer keeps a network from being traced."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn


def name_culprit(network: nn.Module, example: Tensor) -> str:
    """The innermost layer that ``torch.export`` cannot trace by itself, with the reason, in words.

    One layer of each class is tried, with the input that it gets in the network.

    Args:
        network: In evaluation mode.
        example: An input.
    """
    names = {module: name for name, module in network.named_modules()}
    calls: dict[str, tuple[nn.Module, tuple[Any, ...]]] = {}

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        calls.setdefault(names[module], (module, given))

    foreign = [module for module in names if not type(module).__module__.startswith("torch.")]
    hooks = [module.register_forward_pre_hook(note) for module in foreign]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    tried: set[type] = set()
    # a child comes before its parent, so that the innermost is named
    for name in sorted(calls, key=lambda name: -len(name.split(".")) if name else 0):
        module, given = calls[name]
        if type(module) in tried:
            continue
        tried.add(type(module))
        reason = _problem(module, given)
        if reason:
            return f"{type(module).__name__} at {name or 'the root'} ({reason})"
    return "no single layer prevents it, their combination does"


def _problem(module: nn.Module, given: tuple[Any, ...]) -> str:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.export.export(module, given, strict=False)
    except Exception as error:  # as in build_program
        text = str(error).strip().splitlines()
        return f"{type(error).__name__}: {text[0]:.200}" if text else type(error).__name__
    return ""
