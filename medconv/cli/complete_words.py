"""From what a user types after ``fit``, ``validate`` or ``test`` to what Lightning's parser understands."""

from __future__ import annotations

from pathlib import Path

import yaml

from medconv.cli.configs import find_config
from medconv.cli.paths import require_file
from medconv.errors import ConfigError
from medconv.inference import read_checkpoint


def complete_words(command: str, options: list[str], plugins: tuple[str, ...]) -> list[str]:
    """Spell out shipped names, let options win over files wherever they stand, read a checkpoint's configuration."""
    names, rest = split_words("--config", options)
    configs = [find_config(name) for name in names]
    words = [f"--config={path}" for path in configs]
    if command == "fit":
        return [*(f"--name={_run_name(path)}" for path in configs[:1]), *words, *rest]
    if rest and not rest[0].startswith("-"):
        path = require_file(rest.pop(0), "checkpoint")
        config = read_checkpoint(path, allow=plugins).config
        stored = yaml.safe_dump({"model": config["model"], "data": config["data"]})
        words = [f"--config={stored}", f"--ckpt_path={path}", *words]
    return [*words, *rest]


def _run_name(config: Path) -> str:
    """The configuration's name; the run's own where ``runs/NAME/config.yaml`` is used again."""
    return config.resolve().parent.name if config.stem == "config" else config.stem


def split_words(option: str, options: list[str]) -> tuple[list[str], list[str]]:
    """The values of an option that may be repeated, from left to right, and all other words."""
    values, others, words = [], [], iter(options)
    for word in words:
        if word == option:
            value = next(words, None)
            if value is None:
                raise ConfigError(f"expected a value after {option}, got none")
            values.append(value)
        elif word.startswith(f"{option}="):
            values.append(word.split("=", 1)[1])
        else:
            others.append(word)
    return values, others
