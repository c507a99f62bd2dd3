"""One way to parse a command line: typed by jsonargparse, errors in one line with the nearest option."""

from __future__ import annotations

import re
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from itertools import pairwise

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


def parse(
    parser: ArgumentParser, words: Sequence[str], examples: Mapping[str, str] | None = None
) -> Namespace:
    """Parse, or say in one sentence what is wrong and which option was probably meant.

    Args:
        parser: Of ``command_parser``.
        words: After the command.
        examples: How an option is written, by its key; shown where its value is wrong.

    Raises:
        ConfigError: A word that the parser does not know, a missing or a wrong value.
    """
    try:
        return parser.parse_args(list(words))
    except ArgumentError as error:
        raise ConfigError(
            f"{_explain(parser, words, str(error), examples or {})} (see {parser.prog} --help)"
        ) from error


def add_plugin_option(parser: ArgumentParser) -> None:
    """``--plugin``: packages that the user trusts, repeated or separated by commas."""
    text = "packages (a,b) whose classes a checkpoint may name"
    parser.add_argument("--plugin", action="append", default=[], help=text)


def plugins(options: Namespace) -> tuple[str, ...]:
    """The packages named with ``--plugin``."""
    return tuple(name.strip() for words in options.plugin for name in words.split(",") if name.strip())


def _explain(parser: ArgumentParser, words: Sequence[str], message: str, examples: Mapping[str, str]) -> str:
    text = " ".join(message.split())
    every = [name for action in parser._actions for name in action.option_strings]
    options = [name for name in every if name.startswith("--")]
    keys = [action.dest for action in parser._actions if action.option_strings]
    misspelt = re.search(r"Option '([^']+)' is not accepted", text)
    unknown = re.search(r"[Uu]nrecognized arguments: (.*)", text)
    wrong_value = re.search(r'Parser key "(\w+)"(?: element \d+)?: (.*)', text)
    missing = re.search(r"arguments are required: ([\w, ]+)", text)
    if missing:
        titles = {action.dest: "/".join(action.option_strings) or action.dest for action in parser._actions}
        return f"missing, but required: {', '.join(titles.get(key, key) for key in missing.group(1).split(', '))}"
    if unknown:
        word = unknown.group(1).split()[0].split("=")[0]
        return f"no option or argument {word!r}{did_you_mean(word, options)}"
    if misspelt:
        key = misspelt.group(1)
        return f"{_config_file(words)}: no option {key!r}{did_you_mean(key.replace('-', '_'), keys)}"
    if wrong_value:
        expected = re.sub(r"<class '(\w+)'>", r"\1", wrong_value.group(2)).replace(
            "typing.Literal", "one of "
        )
        key, example = wrong_value.group(1), examples.get(wrong_value.group(1))
        shown = f"; for example {example}" if example else ""
        return f"--{key.replace('_', '-')}: {expected.replace('Expected a ', 'expected ')}{shown}"
    return text


def _config_file(words: Sequence[str]) -> str:
    """What ``--config`` named, for messages about what stands in it."""
    named = [word.partition("=")[2] for word in words if word.startswith("--config=")]
    named += [after for word, after in pairwise(words) if word == "--config"]
    return ", ".join(named) or "--config"
