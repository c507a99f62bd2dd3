"""The commands: one dispatcher that imports nothing heavy, one file a command.

``medconv fit | validate | test | predict | info | list``. Exit codes: 0 all well, 1 something failed (the
rest was still done), 2 wrong arguments, 130 interrupted.
"""

from medconv.cli.main import COMMANDS

__all__ = ["COMMANDS"]
