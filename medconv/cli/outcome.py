"""What a run leaves: the table beside the checkpoint, the summary on the screen, the next command to type."""

from __future__ import annotations

import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from medconv.datamodules import SegmentationDataModule
from medconv.io.atomic import write_text
from medconv.reporting import format_summary
from medconv.training import SegmentationTask


def report_outcome(
    task: SegmentationTask, data: SegmentationDataModule, folder: Path, checkpoint: Path
) -> None:
    """Write ``table.csv`` and ``summary.json`` into ``folder``, print the summary and where everything is."""
    assert task.table is not None
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "table.csv"
    summary = task.table.summary()
    task.table.to_csv(table)
    write_text(folder / "summary.json", json.dumps(_finite(summary.to_dict()), indent=2) + "\n")
    pictures = sorted((folder / "overlays").glob("*.png"))
    lines = [
        "",
        format_summary(summary),
        "",
        f"table       {table}",
        *(f"picture     {picture}" for picture in pictures),
        f"checkpoint  {checkpoint}",
        "",
        "next:",
        f"  {next_command(data, folder, checkpoint)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def next_command(data: SegmentationDataModule, folder: Path, checkpoint: Path) -> str:
    """The command that predicts masks for the images of the dataset (its test images where it has some)."""
    words = [
        "python",
        "-m",
        "medconv",
        "predict",
        "-i",
        str(data.example_images),
        "-o",
        str(folder / "predictions"),
    ]
    return shlex.join([*words, str(checkpoint)])


def _finite(value: Any) -> Any:
    """``value`` with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
