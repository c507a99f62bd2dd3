"""``python -m medconv`` is the same as the command ``medconv``."""

import sys

from medconv.cli.main import main
from medconv.cli.quick_end import with_quick_end


def run() -> int:
    """The command that this process was started for; its exit code."""
    # loggers and worker processes of a training may count on Python's tidying up
    is_training = bool({"fit", "validate", "test"}.intersection(sys.argv[1:2]))
    return main() if is_training else with_quick_end(main)


if __name__ == "__main__":
    raise SystemExit(run())
