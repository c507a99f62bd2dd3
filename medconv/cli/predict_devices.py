"""`medconv predict --devices N`: the same command once a device, each with its share of the cases."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import IO

from jsonargparse import Namespace

from medconv.errors import ConfigError

_PIPE = subprocess.PIPE


def predict_on_devices(words: Sequence[str], options: Namespace) -> int:
    """Run one process a device and wait for all, which end with this one. Returns the largest exit code.

    Args:
        words: After ``predict``, as they were typed.
        options: The same, parsed.

    Raises:
        ConfigError: A device by number, or a table or report that all would write.
    """
    if options.device not in ("auto", "cuda", "cpu"):
        raise ConfigError(
            f"--devices counts them itself: expected --device cuda or cpu, got {options.device!r}"
        )
    if options.stats or options.region_table or options.report:
        raise ConfigError(
            "every device would write the same --stats, --region-table or --report; start one command a share instead, "
            "each with --shard i/n and files of its own"
        )
    number, count = options.shard or (1, 1)
    rest = _without(words, ("--devices", "--device", "--shard"))
    processes: list[subprocess.Popen[str]] = []
    threads: list[threading.Thread] = []
    try:
        for device in range(options.devices):
            name = "cpu" if options.device == "cpu" else f"cuda:{device}"
            shard = f"{(number - 1) * options.devices + device + 1}/{count * options.devices}"
            command = [sys.executable, "-m", "medconv", "predict", *rest, "--device", name, "--shard", shard]
            # the user's own words, and no shell
            process = subprocess.Popen(  # noqa: S603
                # the name of a file may be bytes that are no text
                command,
                stdout=_PIPE,
                stderr=_PIPE,
                text=True,
                errors="backslashreplace",
            )
            processes.append(process)
            threads += _listen(device, process)
        return max(process.wait() % 256 for process in processes)
    except KeyboardInterrupt:
        # the terminal has told every process of the group; they finish what they are writing
        for process in processes:
            process.wait()
        raise
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            process.wait()
        for thread in threads:
            thread.join()


def require_ray() -> None:
    """Say what to install, if it is not.

    Raises:
        ConfigError: Ray, or what its data library needs, is missing.
    """
    if any(find_spec(name) is None for name in ("ray", "pyarrow", "pandas")):
        raise ConfigError("--engine ray needs Ray with its data library; pip install 'medconv[ray]'")


def _listen(number: int, process: subprocess.Popen[str]) -> list[threading.Thread]:
    def pass_on(stream: IO[str], target: IO[str]) -> None:
        with stream:
            for line in stream:
                target.write(f"[{number}] {line}")
                target.flush()

    assert process.stdout is not None
    assert process.stderr is not None
    pairs = [(process.stdout, sys.stdout), (process.stderr, sys.stderr)]
    threads = [threading.Thread(target=pass_on, args=pair, daemon=True) for pair in pairs]
    for thread in threads:
        thread.start()
    return threads


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """The words without these options and their values, written with a space or with ``=``."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return kept
