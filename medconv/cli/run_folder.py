"""Where a run is written: one folder with its checkpoints, table, pictures, configuration and log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medconv.errors import ConfigError
from medconv.inference import read_checkpoint
from medconv.training import last_whole_checkpoint
from medconv.training.checkpoint_io import remove_unfinished

_INHERITED = "MEDCONV_RUN_FOLDER"
"""The first process of a distributed run chooses the folder; those it launches find it here."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run and the checkpoint to continue from, if any."""

    path: Path
    resume_from: Path | None
    remarks: tuple[str, ...]


def choose_run_folder(runs: Path, name: str, resume: str, allow: tuple[str, ...] = ()) -> RunFolder:
    """The folder for a run; a finished run is never overwritten.

    Args:
        runs: Folder of all runs.
        name: Name of this run.
        resume: ``"never"`` (a new folder ``NAME-2`` where ``NAME`` is taken), ``"auto"`` or a checkpoint file.
        allow: Plug-in packages whose classes a checkpoint may name.

    Raises:
        ConfigError: ``resume`` names a file that does not exist.
    """
    if resume not in ("never", "auto"):
        checkpoint = Path(resume)
        if not checkpoint.is_file():
            raise ConfigError(
                f"expected --resume never, auto or a checkpoint file; there is no file {resume}"
            )
        read_checkpoint(checkpoint, allow=allow)
        return RunFolder(_claim(checkpoint.parent), checkpoint, (f"continuing from {checkpoint}",))
    if resume == "never":
        folder = _claim(_inherited() or _first_free(runs / name))
        return RunFolder(folder, None, ())
    folder = _claim(_inherited() or _newest(runs / name))
    if is_first_process():
        remove_unfinished(folder)
    checkpoint_found, complaints = last_whole_checkpoint(folder, allow)
    found = (
        f"continuing from {checkpoint_found}"
        if checkpoint_found
        else f"no checkpoint in {folder}: starting fresh"
    )
    return RunFolder(folder, checkpoint_found, (*complaints, found))


def keep_log(folder: Path) -> None:
    """Move ``metrics.csv`` of an earlier part of the run aside, to ``metrics_1.csv`` and so on.

    Lightning's CSV logger deletes the file that it finds.
    """
    log = folder / "metrics.csv"
    if log.exists():
        number = 1 + sum(1 for _ in folder.glob("metrics_*.csv"))
        log.replace(folder / f"metrics_{number}.csv")


def is_first_process() -> bool:
    """Whether this is the process that a user or a cluster started, not one that a launcher added."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0 and int(os.environ.get("NODE_RANK", "0")) == 0


def _inherited() -> Path | None:
    value = None if is_first_process() else os.environ.get(_INHERITED)
    return Path(value) if value else None


def _claim(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_INHERITED] = str(folder)
    return folder


def _numbered(folder: Path, number: int) -> Path:
    return folder if number == 1 else folder.with_name(f"{folder.name}-{number}")


def _first_free(folder: Path) -> Path:
    number = 1
    while (_numbered(folder, number) / "config.yaml").exists():
        number += 1
    return _numbered(folder, number)


def _newest(folder: Path) -> Path:
    number = 1
    while (_numbered(folder, number + 1) / "config.yaml").exists():
        number += 1
    return _numbered(folder, number)
