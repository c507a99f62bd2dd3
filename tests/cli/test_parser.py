from __future__ import annotations

from typing import Literal

import pytest
from jsonargparse import ArgumentParser

from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.errors import ConfigError


@pytest.fixture
def parser() -> ArgumentParser:
    parser = command_parser("cook", "Line one.\n  line two")
    parser.add_argument("dish")
    parser.add_argument("--tile-batch", type=int, default=4)
    parser.add_argument("--heat", type=Literal["low", "high"], default="low")
    return parser


def test_values_are_typed(parser: ArgumentParser) -> None:
    options = parse(parser, ["soup", "--tile-batch", "2"])
    assert (options.dish, options.tile_batch, options.heat) == ("soup", 2, "low")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["soup", "--tile-bach", "2"],
            r"'--tile-bach'; did you mean '--tile-batch'\? \(see medconv cook --help\)",
        ),
        (["soup", "--tile-bach=2"], r"'--tile-bach'; did you mean '--tile-batch'\?"),
        (["soup", "--tile_batch", "2"], r"'--tile_batch'; did you mean '--tile-batch'\?"),
        (["soup", "--tile", "2"], "no option or argument '--tile'"),
        (["soup", "--dish", "salad"], r"no option or argument '--dish' \("),
        (["soup", "salad"], r"no option or argument 'salad' \("),
        (["soup", "--tile-batch", "x"], "--tile-batch: expected int. Got value: x"),
        (["soup", "--heat", "mild"], r"--heat: expected one of \['low', 'high'\]. Got value: mild"),
        ([], r"^missing, but required: dish \(see medconv cook --help\)$"),
    ],
)
def test_errors_are_one_sentence(parser: ArgumentParser, words: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        parse(parser, words)


def test_plug_ins_may_be_repeated_or_separated(parser: ArgumentParser) -> None:
    add_plugin_option(parser)
    assert plugins(parse(parser, ["soup", "--plugin", "a,b", "--plugin", "c"])) == ("a", "b", "c")
    assert plugins(parse(parser, ["soup"])) == ()


def test_the_description_keeps_its_lines(parser: ArgumentParser) -> None:
    assert "Line one.\n  line two" in parser.format_help()
