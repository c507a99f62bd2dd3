"""An export takes the place of an earlier one, and of nothing else that lies in the folder."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from medconv.errors import ConfigError

REPORT = "parity.json"

_BEFORE_LISTS = (
    "README.md",
    "bundle/LICENSE",
    "bundle/configs/inference.json",
    "bundle/configs/metadata.json",
    "bundle/docs/README.md",
    "bundle/models/model.ts",
    "model.json",
    "model.onnx",
    "model.onnx.data",
    "model.pt2",
    "model.safetensors",
    REPORT,
    "plan.yaml",
)
"""What exports consisted of whose report does not list it."""


def listed_files(folder: Path) -> tuple[str, ...]:
    """The files of an export by its report, as paths in the folder; none where there is no report.

    Raises:
        ConfigError: The report cannot be read, or names files outside the folder.
    """
    report = folder / REPORT
    if not report.is_file():
        return ()
    try:
        names = json.loads(report.read_text(encoding="utf-8")).get("files", _BEFORE_LISTS)
        is_inside = all(
            not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts for name in names
        )
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        is_inside = False
    if not is_inside:
        raise ConfigError(
            f"{report}: expected the report of an export, which lists its files; name another folder"
        )
    return tuple(names)


def files_in(folder: Path) -> tuple[str, ...]:
    """Every file of a folder, as a path in it."""
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))


def put(work: Path, folder: Path) -> None:
    """Move a finished export to its place; the files of an earlier one there go first, others stay.

    Args:
        work: The finished folder, on the same file system; gone afterwards, or empty.
        folder: Absent, or empty, or with an earlier export.

    Raises:
        ConfigError: A file that no export lists is in the way.
    """
    # whoever stands in an empty folder would stand nowhere if another took its place
    if folder.is_dir() and not any(folder.iterdir()) and folder.resolve() != Path.cwd().resolve():
        folder.rmdir()
    if not folder.exists():
        work.rename(folder)
        return
    earlier = listed_files(folder)
    if foreign := [name for name in files_in(work) if name not in earlier and (folder / name).exists()]:
        raise ConfigError(
            f"{folder / foreign[0]} belongs to no earlier export, so it is not replaced; move it, or name another "
            "folder"
        )
    for name in earlier:
        (folder / name).unlink(missing_ok=True)
        _remove_empty((folder / name).parent, folder)
    for name in files_in(work):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).replace(folder / name)


def _remove_empty(place: Path, folder: Path) -> None:
    while place != folder and place.is_dir() and not any(place.iterdir()):
        place.rmdir()
        place = place.parent
