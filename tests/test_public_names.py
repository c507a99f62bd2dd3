"""What medconv promises to the outside: the names of every room, kept in ``public_names.json``.

A name that disappears breaks somebody's notebook; one that appears is a promise. Either is a decision and is
written down: ``python tests/test_public_names.py --write``, and a line in CHANGELOG.md.
"""

from __future__ import annotations

import json
import pkgutil
import sys
from importlib import import_module
from pathlib import Path

import medconv

KEPT = Path(__file__).with_name("public_names.json")


def public_names() -> dict[str, list[str]]:
    rooms = [f"medconv.{info.name}" for info in pkgutil.iter_modules(medconv.__path__) if info.ispkg]
    return {room: sorted(import_module(room).__all__) for room in ["medconv", *sorted(rooms)]}


def changes(kept: dict[str, list[str]], now: dict[str, list[str]]) -> list[str]:
    before, after = ({f"{room}.{name}" for room, names in d.items() for name in names} for d in (kept, now))
    return [f"gone: {name}" for name in sorted(before - after)] + [
        f"new: {n}" for n in sorted(after - before)
    ]


def test_the_public_names_are_the_promised_ones() -> None:
    found = changes(json.loads(KEPT.read_text()), public_names())
    remedy = "if it is meant, run 'python tests/test_public_names.py --write' and note it in CHANGELOG.md"
    assert not found, f"{found}: {remedy}"


def test_every_public_name_exists() -> None:
    absent = [
        f"{room}.{name}"
        for room, names in public_names().items()
        for name in names
        if not hasattr(import_module(room), name)
    ]
    assert not absent


def test_a_change_is_named() -> None:
    kept, now = {"medconv.ops": ["A", "B"]}, {"medconv.ops": ["B", "C"]}
    assert changes(kept, now) == ["gone: medconv.ops.A", "new: medconv.ops.C"]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python tests/test_public_names.py --write")
    KEPT.write_text(json.dumps(public_names(), indent=2) + "\n")
