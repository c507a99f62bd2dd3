"""What jsonargparse says about a wrong configuration, cut down to what the user can act on."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from importlib import import_module

from medconv.attention import Attention
from medconv.blocks import Block
from medconv.catalogue import catalogue, did_you_mean
from medconv.losses import Loss
from medconv.models.base import SegmentationModel
from medconv.ops import ConvOp

_KEY = re.compile(r'Parser key "([^"]+)":?')
_CLASS = re.compile(r"class_path[ =]'([\w.]+)'")
_NO_OPTION = re.compile(r"Option '([\w.]+)' is not accepted|Key '([\w.]+)' is not expected")
_NO_CLASS = re.compile(r"Expected a dot import path string: (\w+)$")
_NO_WORD = re.compile(r"Literal\[(.+?)\]\. Got value: (\w+)")
_WRAPPING = re.compile(
    r"^- |Type <class '[\w.]+'> expects a function or a callable class: |Got value: Namespace\(.*\)$"
)
_NOISE = re.compile(
    r"^(Does not validate|Subtypes:|Errors:|Given value"
    r"|Expected a path but .* either not accessible or invalid"
    r"|Expected a (<class '(list|NoneType)'>|typing\.Literal\[[^.]*\])$)"
)


def explain_parse_error(error: Exception, options: Iterable[str] = ()) -> str:
    """The place, the complaint and the nearest right name.

    Args:
        error: What ``ArgumentParser.parse_object`` raised.
        options: Names accepted at the top of the configuration.

    Example:
        >>> explain_parse_error(ValueError("Option 'rate' is not accepted"), ["lr", "rates"])
        "Option 'rate' is not accepted; did you mean 'rates'?"
    """
    owners = _CLASS.findall(str(error))
    lines = [_WRAPPING.sub("", line.strip()).strip() for line in str(error).splitlines() if line.strip()]
    place = ".".join(match[1] for line in lines if (match := _KEY.fullmatch(line)))
    said = [line for line in lines if not _KEY.fullmatch(line) and not _NOISE.match(line)]
    said = [line for line in said if not line.startswith("Problem with given class_path")] or lines[-1:]
    accepted = [*_options_of(owners[-1])] if owners else [*options]
    hints = (_hint(line, accepted) for line in said)
    text = "; ".join(line + hint for line, hint in zip(said, hints, strict=True))
    return f"{place}: {text}" if place else text


def _hint(line: str, accepted: list[str]) -> str:
    if match := _NO_OPTION.search(line):
        return did_you_mean((match[1] or match[2]).split(".")[0], accepted)
    if match := _NO_CLASS.search(line):
        bases = (SegmentationModel, ConvOp, Block, Attention, Loss)
        return did_you_mean(match[1], [name for base in bases for name in catalogue(base)])  # type: ignore[type-abstract]
    if match := _NO_WORD.search(line):
        return did_you_mean(match[2], re.findall(r"'(\w+)'", match[1]))
    return ""


def _options_of(class_path: str) -> Iterator[str]:
    """Options of a class that jsonargparse has just imported."""
    module, _, name = class_path.rpartition(".")
    if module.split(".")[0] == "medconv":
        yield from inspect.signature(getattr(import_module(module), name)).parameters
