"""Checkpoints that a crash, a full disk or a kill cannot damage, and the search for the last whole one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from medconv.errors import CheckpointError
from medconv.inference import read_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to disk, then rename: the old file stays until the new one is whole.

    Lightning's own writer goes through the system's temporary folder; on another file system its last step is a
    copy, which a kill or a full disk leaves half done in place of the previous checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save ``checkpoint`` at ``path``, all or nothing.

        Raises:
            TypeError: ``storage_options`` is given; only local files are written.
        """
        if storage_options is not None:
            raise TypeError("AtomicCheckpointIO writes local files and takes no storage_options")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # not tempfile: its files are for their owner alone, whatever the umask, and colleagues share checkpoints
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("xb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed run left half written in ``folder``."""
    for stale in folder.glob(".*.ckpt.*.tmp"):
        stale.unlink(missing_ok=True)


def last_whole_checkpoint(folder: Path, allow: Iterable[str] = ()) -> tuple[Path | None, list[str]]:
    """The newest checkpoint in ``folder`` that can be read to the end, and what is wrong with newer ones.

    Args:
        folder: Searched for ``*.ckpt``.
        allow: Plug-in packages whose classes the checkpoint may name.

    Returns:
        The path, or ``None`` where no whole checkpoint exists; and one message for each damaged file passed over.
    """
    complaints: list[str] = []
    for path in sorted(folder.glob("*.ckpt"), key=lambda p: p.stat().st_mtime_ns, reverse=True):
        try:
            read_checkpoint(path, allow=tuple(allow))
        except CheckpointError as error:
            complaints.append(str(error))
        else:
            return path, complaints
    return None, complaints
