from __future__ import annotations

from abc import ABC, abstractmethod
from types import SimpleNamespace

import pytest

import medconv.catalogue
from medconv.catalogue import catalogue, did_you_mean, find
from medconv.errors import ConfigError, UnknownNameError


def family() -> type:
    class Tool(ABC):
        @abstractmethod
        def work(self) -> None: ...

    return Tool


def made(base: type, name: str, module: str = "shop") -> type:
    return type(name, (base,), {"__module__": module, "work": print})


def test_every_concrete_descendant_is_listed_by_name_in_order() -> None:
    tool = family()
    saw = made(tool, "Saw")
    hammer = made(saw, "Hammer")
    assert list(catalogue(tool).items()) == [("Hammer", hammer), ("Saw", saw)]


def test_the_abstract_and_the_private_are_not_listed() -> None:
    tool = family()
    half_made = type("HalfMade", (tool,), {"__module__": "shop"})
    made(tool, "_Hidden")
    child = made(half_made, "Finished")
    assert catalogue(tool) == {"Finished": child}


def test_two_classes_of_one_name_are_refused_with_both_places() -> None:
    tool = family()
    kept = [made(tool, "Saw", "shop"), made(tool, "Saw", "garage")]
    with pytest.raises(ConfigError, match=r"two classes are called 'Saw': shop and garage; rename one"):
        catalogue(tool)
    del kept


def test_plug_ins_of_the_group_are_imported_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tool, kept = family(), []
    plugin = SimpleNamespace(load=lambda: kept.append(made(tool, "Plane", "their_package")))
    asked = []
    monkeypatch.setattr(medconv.catalogue, "entry_points", lambda group: asked.append(group) or [plugin])
    assert list(catalogue(tool)) == []
    assert list(catalogue(tool, "medconv.tools")) == ["Plane"]
    assert asked == ["medconv.tools"]


def test_find_gives_the_class_or_the_nearest_name() -> None:
    choices = {"StandardConv": int, "SymmetricConv": float}
    assert find("SymmetricConv", choices, "operator") is float
    with pytest.raises(
        UnknownNameError, match=r"no operator 'SymetricConv'; did you mean 'SymmetricConv'\? All: Sta"
    ):
        find("SymetricConv", choices, "operator")
    with pytest.raises(UnknownNameError, match=r"no operator 'x'\. All: StandardConv, SymmetricConv"):
        find("x", choices, "operator")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("symmetricconv", "; did you mean 'SymmetricConv'?"),
        ("StandartConv", "; did you mean 'StandardConv'?"),
        ("x", ""),
    ],
)
def test_a_hint_is_given_where_something_is_near(typed: str, hint: str) -> None:
    assert did_you_mean(typed, ["StandardConv", "SymmetricConv"]) == hint
