"""What a run leaves: the table beside the checkpoint, the summary on the screen, the next command to type."""

from __future__ import annotations

import shlex
import shutil
import sys
from datetime import date
from pathlib import Path

from medconv.cli.table_files import write_objects, write_tables
from medconv.datamodules import SegmentationDataModule
from medconv.errors import MedconvError
from medconv.reporting import ReportNotes, format_summary, worst_first, write_report
from medconv.reporting.instance_report import format_instance_summary
from medconv.reporting.report import WORST_SHOWN
from medconv.training import SegmentationTask


def checkpoint_to_measure(folder: Path) -> Path:
    """The best checkpoint of a run, or the last where no epoch was validated.

    Raises:
        MedconvError: There is neither.
    """
    for name in ("best", "last"):
        if (path := folder / f"{name}.ckpt").is_file():
            return path
    raise MedconvError(f"the run wrote no checkpoint into {folder}; is trainer.max_epochs 0?")


def report_outcome(
    task: SegmentationTask, data: SegmentationDataModule, folder: Path, checkpoint: Path
) -> None:
    """Write tables and report into ``folder``, print the summary and where everything is."""
    result = task.result
    assert result is not None
    table = write_tables(result, folder)
    overlays = {case: folder / "overlays" / f"{case}.png" for case in worst_first(result)[:WORST_SHOWN]}
    drawn = {case: picture.read_bytes() for case, picture in overlays.items() if picture.is_file()}
    notes = ReportNotes(f"Segmentation report: {folder}", [date.today().isoformat()], drawn)
    report = write_report(result, folder / "report.html", notes)
    lines = [
        "",
        format_summary(result.summary()),
        "",
        *([] if task.found is None else [format_instance_summary(task.found), ""]),
        f"table       {table}",
        f"report      {report}",
        *([] if task.found is None else [f"objects     {write_objects(task.found, folder, drawn)}"]),
        *([f"pictures    {folder / 'overlays'} (the worst: {', '.join(list(drawn)[:3])})"] if drawn else []),
        f"checkpoint  {checkpoint}",
        "",
        "next:",
        f"  {next_command(data, folder, checkpoint, mirror=task.mirror)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def next_command(
    data: SegmentationDataModule, folder: Path, checkpoint: Path, *, mirror: bool = False
) -> str:
    """The command that predicts masks for the images of the dataset (its test images where it has some).

    It names the Python that runs now wherever the word ``python`` would start another one.
    """
    words = [
        this_python(),
        "-m",
        "medconv",
        "predict",
        "-i",
        str(data.example_images),
        "-o",
        str(folder / "predictions"),
    ]
    return shlex.join([*words, *(["--mirror"] if mirror else []), str(checkpoint)])


def this_python() -> str:
    """``python`` if the shell finds this interpreter under that name, else its path, relative if it is below here."""
    found = shutil.which("python")
    if found and Path(found).absolute() == Path(sys.executable).absolute():
        return "python"
    path = Path(sys.executable).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
