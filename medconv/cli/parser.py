"""One way to parse a command line: typed by jsonargparse, errors in one line with the nearest option."""

from __future__ import annotations

import re
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError


class _Help(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Types and defaults as jsonargparse shows them, descriptions with their line breaks."""


def command_parser(command: str, description: str) -> ArgumentParser:
    """An empty parser for ``medconv <command>``; nothing heavy is imported."""
    return ArgumentParser(
        prog=f"medconv {command}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=_Help,
    )


def parse(parser: ArgumentParser, words: Sequence[str]) -> Namespace:
    """Parse, or say in one sentence what is wrong and which option was probably meant.

    Raises:
        ConfigError: A word that the parser does not know, a missing or a wrong value.
    """
    try:
        return parser.parse_args(list(words))
    except ArgumentError as error:
        raise ConfigError(f"{_explain(parser, str(error))} (see {parser.prog} --help)") from error


def add_plugin_option(parser: ArgumentParser) -> None:
    """``--plugin``: packages that the user trusts, repeated or separated by commas."""
    text = "packages (a,b) whose classes a checkpoint may name"
    parser.add_argument("--plugin", action="append", default=[], help=text)


def plugins(options: Namespace) -> tuple[str, ...]:
    """The packages named with ``--plugin``."""
    return tuple(name.strip() for words in options.plugin for name in words.split(",") if name.strip())


def _explain(parser: ArgumentParser, message: str) -> str:
    text = " ".join(message.split())
    options = [f"--{name.replace('_', '-')}" for name in parser.get_defaults().keys()]  # noqa: SIM118
    unknown = re.search(r"[Uu]nrecognized arguments: (.*)", text)
    wrong_value = re.search(r'Parser key "(\w+)": (.*)', text)
    if unknown:
        word = unknown.group(1).split()[0].split("=")[0]
        return f"no option or argument {word!r}{did_you_mean(word, options)}"
    if wrong_value:
        expected = re.sub(r"<class '(\w+)'>", r"\1", wrong_value.group(2)).replace(
            "typing.Literal", "one of "
        )
        return f"--{wrong_value.group(1).replace('_', '-')}: {expected.replace('Expected a ', 'expected ')}"
    return text
