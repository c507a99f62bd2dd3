"""The dispatcher: the first word chooses a command, and only that command is imported."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from medconv import __version__
from medconv.errors import ConfigError, MedconvError

COMMANDS = {
    "fit": ("medconv.cli.fit:main", "train a network and measure it on cases it has not seen"),
    "validate": ("medconv.cli.fit:main", "measure a checkpoint on the validation cases of its data"),
    "test": ("medconv.cli.fit:main", "measure a checkpoint on the test cases of its dataset"),
    "predict": ("medconv.cli.predict:main", "masks for new volumes, on their own grid"),
    "evaluate": ("medconv.cli.evaluate:main", "masks against references: tables and a report"),
    "tune-postprocessing": (
        "medconv.cli.tune_postprocessing:main",
        "which clean-up helps which class, on validation cases",
    ),
    "compare-tables": ("medconv.cli.compare_tables:main", "whether one table is better than another"),
    "robustness": (
        "medconv.cli.robustness:main",
        "how scores fall with rotation, noise, blur and contrast, network beside network",
    ),
    "info": ("medconv.cli.info:main", "what a checkpoint is: classes, spacing, operators, scores"),
    "view": ("medconv.cli.view:main", "an image and its masks as one page that opens offline"),
    "export": ("medconv.cli.export:main", "a checkpoint for other tools: torch.export, ONNX, MONAI bundle"),
    "describe": ("medconv.cli.describe:main", "a configuration's network: layers, cost, memory, symmetry"),
    "plan": ("medconv.cli.plan:main", "what a dataset decides: spacing, patch, batch, stages, with reasons"),
    "check": ("medconv.cli.check:main", "every problem of a dataset in one list"),
    "data": ("medconv.cli.data:main", "public datasets: list them, or get one and verify it"),
    "list": ("medconv.cli.list:main", "what there is: ops, attention, losses, metrics, configs"),
}
"""Command: where its ``main(argv) -> exit code`` is (``argv[0]`` the command), and what it does."""

FAILED, WRONG_ARGUMENTS, INTERRUPTED = 1, 2, 130

# a user's disk and rights; a file that is not there may be a fault of ours, except where a folder refuses new ones
_OF_THE_FILE_SYSTEM = frozenset((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; expected errors are printed without a traceback.

    Args:
        argv: The words after ``medconv``; ``None`` takes them from the command line.

    Example:
        >>> main(["--version"])
        medconv ...
        0
    """
    if argv is None and isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        # a file's name that this terminal cannot show must not end a night's work
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else WRONG_ARGUMENTS
    if words[0] in ("-V", "--version"):
        print(f"medconv {__version__}")
        return 0
    if words[0] not in COMMANDS:
        return _complain("medconv", _unknown(words[0]), WRONG_ARGUMENTS)
    return _run(words)


def overview() -> str:
    """The help of ``medconv`` itself."""
    rows = "\n".join(f"  {name:20} {what}" for name, (_, what) in COMMANDS.items())
    return (
        "usage: medconv COMMAND ...\n\n"
        "Medical segmentation with any convolution you like.\n\n"
        f"commands:\n{rows}\n\n"
        "options:\n  --help     this text; medconv COMMAND --help for a command's own\n"
        "  --version  the version\n\n"
        "first steps:\n  medconv fit --config unet_sym\n"
        "  medconv predict -i scan.nii.gz -o mask.nii.gz runs/unet_sym/best.ckpt"
    )


def _run(words: list[str]) -> int:
    command = words[0]
    module, _, function = COMMANDS[command][0].partition(":")
    try:
        code = int(getattr(import_module(module), function)(words))
        sys.stdout.flush()
        return code
    except MedconvError as error:
        return _complain(
            f"medconv {command}", str(error), WRONG_ARGUMENTS if isinstance(error, ConfigError) else FAILED
        )
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        return _complain(f"medconv {command}", "interrupted", INTERRUPTED)
    except BrokenPipeError:
        # the reader has gone (as in "| head"); Python would complain again when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        if error.errno not in _OF_THE_FILE_SYSTEM or error.filename is None:
            raise
        where = f"{error.filename}: {error.strerror}"
        remedy = "see that you may read and write there and that the disk has room"
        return _complain(f"medconv {command}", f"{where}; {remedy}, or name another file", FAILED)


def _complain(who: str, text: str, code: int) -> int:
    print(f"{who}: {text}", file=sys.stderr)
    return code


def _unknown(word: str) -> str:
    from medconv.catalogue import did_you_mean  # costs 20 ms that only a typing error should pay

    hint = did_you_mean(word, COMMANDS) or "."
    return f"no command {word!r}{hint} Commands: {', '.join(COMMANDS)}; see medconv --help"
