"""``--init-from CHECKPOINT``: begin a run with the weights of another, whatever operators it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medconv.cli.paths import require_file
from medconv.errors import ConfigError
from medconv.inference import read_checkpoint
from medconv.models import SegmentationModel, take_over


def init_from(
    checkpoint: str, network: SegmentationModel, allow: Sequence[str], folder: Path | None
) -> list[str]:
    """Set the weights of a network from a checkpoint; the account is written into the run's folder and returned.

    Args:
        checkpoint: Path of a medconv checkpoint.
        network: Its weights are set.
        allow: Plug-in packages whose classes the checkpoint may name.
        folder: Of the run; ``None``: the account is not written.

    Raises:
        ConfigError: No such file, or weights that do not fit, all of them listed.
        CheckpointError: The file is no usable checkpoint.
    """
    source = read_checkpoint(require_file(checkpoint, "checkpoint"), allow=tuple(allow)).build(folded=False)
    try:
        report = take_over(source, network)
    except ConfigError as error:
        raise ConfigError(f"--init-from {checkpoint}: {error}") from error
    lines = [f"weights from {checkpoint}:", *report.lines()]
    if folder is not None:
        (folder / "init_from.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines
