"""Every public name says what it is, and every part that one can put into a network shows how.

That the examples are right is seen when pytest runs them (``--doctest-modules``); here, that they are there.
"""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import medconv
from medconv.catalogue import catalogue

PARTS = {
    "medconv.ops": "ConvOp",
    "medconv.attention": "Attention",
    "medconv.blocks": "Block",
    "medconv.models": "SegmentationModel",
    "medconv.losses": "Loss",
}
ON_SKIPS = ("medconv.attention", "SkipAttention")
ROOMS = sorted(f"medconv.{info.name}" for info in pkgutil.iter_modules(medconv.__path__) if info.ispkg)


def exports() -> Iterator[tuple[str, object]]:
    for room in ROOMS:
        module = import_module(room)
        yield from ((f"{room}.{name}", getattr(module, name)) for name in module.__all__)


def parts() -> Iterator[tuple[str, type]]:
    for room, base in [*PARTS.items(), ON_SKIPS]:
        cls = getattr(import_module(room), base)
        own = {name: part for name, part in catalogue(cls).items() if part.__module__.startswith("medconv.")}
        yield from ((f"{base}:{name}", part) for name, part in own.items())


EXPORTS, PARTS_FOUND = dict(exports()), dict(parts())


def has_own_docstring(thing: object) -> bool:
    """A docstring that somebody wrote: neither inherited nor the one that dataclasses make up."""
    text = vars(thing).get("__doc__") if isinstance(thing, type) else inspect.getdoc(thing)
    return bool(text) and not (isinstance(thing, type) and text.startswith(f"{thing.__name__}("))


def missing_sections(cls: type) -> list[str]:
    """What the docstring of a part lacks, of what every one must have.

    What all parts of a kind share, such as the geometry of an operator, is written once, in their base.
    """
    text = "".join(
        base.__doc__ or "" for base in cls.__mro__ if base.__module__ == cls.__module__ or _ours(base)
    )
    missing = [section for section in ("Args:", "Shape:") if section not in text]
    examples = doctest.DocTestParser().get_examples(cls.__doc__ or "")
    if not any(example.want for example in examples) or any(doctest.SKIP in e.options for e in examples):
        missing.append("an example whose output is checked")
    return missing


def _ours(cls: type) -> bool:
    return cls.__module__.startswith("medconv.")


def test_every_room_says_what_it_is_and_what_it_offers() -> None:
    silent = [room for room in ROOMS if not import_module(room).__doc__ or not import_module(room).__all__]
    assert not silent


def test_every_public_name_has_a_docstring() -> None:
    things = {name: x for name, x in EXPORTS.items() if isinstance(x, type) or inspect.isroutine(x)}
    assert len(things) > 50
    assert not [name for name, x in things.items() if not has_own_docstring(x)]


@pytest.mark.parametrize("name", sorted(PARTS_FOUND))
def test_every_part_explains_itself_by_an_example(name: str) -> None:
    assert not missing_sections(PARTS_FOUND[name])


def test_every_kind_of_part_was_found() -> None:
    assert {name.split(":")[0] for name in PARTS_FOUND} == {*PARTS.values(), ON_SKIPS[1]}


# ---------------------------------------------------------------- these tests see what they should see


def test_an_inherited_docstring_is_none() -> None:
    class Base:
        """I am documented."""

    class Silent(Base):
        pass

    assert has_own_docstring(Base)
    assert not has_own_docstring(Silent)


def test_an_example_that_checks_nothing_is_none() -> None:
    class Part:
        """A part.

        Args:
            x: Something.

        Example:
            >>> part = 1
        """

    assert missing_sections(Part) == ["Shape:", "an example whose output is checked"]
