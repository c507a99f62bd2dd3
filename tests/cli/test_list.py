from __future__ import annotations

import re

import pytest

import medconv.metrics
from medconv.attention import Attention
from medconv.catalogue import catalogue
from medconv.cli.list import first_line, format_rows
from medconv.cli.main import main
from medconv.losses import Loss
from medconv.ops import ConvOp, summarise
from medconv.ops.summary import HEAD


@pytest.mark.parametrize(("kind", "base"), [("attention", Attention), ("losses", Loss)])
def test_every_class_is_listed_with_its_first_line(
    kind: str, base: type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", kind]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    own = {name: cls for name, cls in catalogue(base).items() if cls.__module__.startswith("medconv.")}
    assert len(own) >= 1
    assert {name: rows[name] for name in own} == {name: first_line(cls) for name, cls in own.items()}


def test_operators_are_listed_with_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "ops"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert tuple(re.split("  +", head)) == HEAD
    rows = {line.split()[0]: re.split("  +", line) for line in lines}
    own = {n: k for n, k in catalogue(ConvOp).items() if k.__module__.startswith("medconv.")}  # type: ignore[type-abstract]
    assert len(own) > 10
    assert all(rows[name] == [cell for cell in summarise(kind).cells if cell] for name, kind in own.items())


def test_markdown_is_for_operators_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "losses", "--markdown"]) == 2
    assert "expected --markdown with ops only, got it with 'losses'" in capsys.readouterr().err


def test_metrics_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "metrics"]) == 0
    out = capsys.readouterr().out
    assert "hausdorff_mm" in out
    assert first_line(medconv.metrics.dice) in out


def test_configs_are_listed_with_what_they_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "configs"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["unet_sym"].startswith("The demo")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["opps"], r"nothing called 'opps' to list; did you mean 'ops'? Kinds: ops, attention, losses"),
        ([], "expected what to list: medconv list ops|attention|losses|metrics|configs"),
    ],
)
def test_another_kind_is_refused(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *words]) == 2
    assert text in capsys.readouterr().err


def test_columns_are_aligned() -> None:
    assert format_rows({"a": "one", "long": "two", "c": ""}) == "a     one\nlong  two\nc"
    assert format_rows({}) == ""
