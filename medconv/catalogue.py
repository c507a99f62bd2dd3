"""The catalogue: every concrete subclass of a base, found by name, with 'did you mean'.

There is no registry to forget: a class is listed because it exists and is imported. Third-party packages
announce theirs through an entry-point group.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import TypeVar

from medconv.errors import ConfigError, UnknownNameError

T = TypeVar("T")


def catalogue(base: type[T], entry_point_group: str | None = None) -> dict[str, type[T]]:
    """All public concrete subclasses of ``base`` that are imported, by class name.

    Args:
        base: The class whose subclasses are wanted.
        entry_point_group: Plug-ins announced under this group are imported first.

    Raises:
        ConfigError: Two different classes share a name.
    """
    for plugin in entry_points(group=entry_point_group) if entry_point_group else ():
        plugin.load()
    found: dict[str, type[T]] = {}
    for cls in _descendants(base):
        if cls.__name__.startswith("_") or inspect.isabstract(cls):
            continue
        other = found.setdefault(cls.__name__, cls)
        if other is not cls and other.__module__ != cls.__module__:
            raise ConfigError(
                f"two classes are called {cls.__name__!r}: {other.__module__} and {cls.__module__}; "
                "rename one"
            )
    return dict(sorted(found.items()))


def find(name: str, choices: dict[str, type[T]], kind: str) -> type[T]:
    """The class called ``name``, or an error that offers the nearest names.

    Raises:
        UnknownNameError: No choice has this name.
    """
    if name in choices:
        return choices[name]
    hint = did_you_mean(name, choices) or "."
    raise UnknownNameError(f"no {kind} {name!r}{hint} All: {', '.join(choices)}")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest of the choices, or nothing.

    Example:
        >>> did_you_mean("SymetricConv", ["StandardConv", "SymmetricConv"])
        "; did you mean 'SymmetricConv'?"
    """
    lower = {c.lower(): c for c in choices}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


def _descendants(base: type[T]) -> Iterable[type[T]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _descendants(cls)
