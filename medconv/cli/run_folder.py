"""Where a run is written: one folder with its checkpoints, table, pictures, configuration and log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import count, takewhile
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

    def drop_if_empty(self) -> None:
        """Remove the folder of a run that was refused before anything was written into it."""
        if is_first_process() and self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()


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
        require_resumable(resume)
        checkpoint = Path(resume)
        read_checkpoint(checkpoint, allow=allow)
        return RunFolder(_hand_down(checkpoint.parent), checkpoint, (f"continuing from {checkpoint}",))
    if resume == "never":
        return RunFolder(_new_folder(runs / name), None, ())
    folder = _hand_down(_inherited() or _newest(runs / name))
    if is_first_process():
        remove_unfinished(folder)
    checkpoint_found, complaints = last_whole_checkpoint(folder, allow)
    found = (
        f"continuing from {checkpoint_found}"
        if checkpoint_found
        else f"no checkpoint in {folder}: starting fresh"
    )
    return RunFolder(folder, checkpoint_found, (*complaints, found))


def require_resumable(resume: str) -> None:
    """Refuse ``--resume FILE`` where there is no such file, before anything else is done.

    Raises:
        ConfigError: There is none.
    """
    if resume not in ("never", "auto") and not Path(resume).is_file():
        raise ConfigError(f"expected --resume never, auto or a checkpoint file; there is no file {resume}")


def keep_log(folder: Path) -> None:
    """Move ``metrics.csv`` of an earlier part of the run aside, to ``metrics_1.csv`` and so on.

    Lightning's CSV logger deletes the file that it finds.
    """
    log = folder / "metrics.csv"
    if log.exists():
        number = 1 + sum(1 for _ in folder.glob("metrics_*.csv"))
        log.replace(folder / f"metrics_{number}.csv")


def is_first_process() -> bool:
    """Whether this is the process that a user or a cluster started, or the first of those that a launcher started."""
    if (
        "RANK" in os.environ
    ):  # torchrun numbers all processes; nodes may be numbered otherwise by who started it
        return _number("RANK") == _number("LOCAL_RANK") == 0
    return not any(map(_number, ("SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")))


def _number(variable: str) -> int:
    return int(os.environ.get(variable) or "0")


def _inherited() -> Path | None:
    value = None if is_first_process() else os.environ.get(_INHERITED)
    return Path(value) if value else None


def _hand_down(folder: Path) -> Path:
    if is_first_process():
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[_INHERITED] = str(folder)
    return folder


def _new_folder(folder: Path) -> Path:
    if not is_first_process():
        # where a launcher handed nothing down, only the first process writes, and the others are told its folder
        return _inherited() or _newest(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return _hand_down(next(new for n in count(1) if _make(new := _numbered(folder, n))))


def _make(folder: Path) -> bool:
    # making it is claiming it: of two runs that begin together only one can
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _numbered(folder: Path, number: int) -> Path:
    return folder if number == 1 else folder.with_name(f"{folder.name}-{number}")


def _newest(folder: Path) -> Path:
    there = takewhile(Path.exists, (_numbered(folder, number) for number in count(1)))
    return next((run for run in reversed(list(there)) if (run / "config.yaml").exists()), folder)
