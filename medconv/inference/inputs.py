"""Which volumes a user means by files, folders, patterns and tables, and which files make up one case."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medconv.errors import ConfigError, DatasetError
from medconv.inference.channel_order import check_channel_order, refuse_other_order
from medconv.io import ImageLayout, discover, mask_suffix_for, stem_of, suffix_of, supported_suffixes
from medconv.io.dicom import is_dicom_file, is_series_folder
from medconv.io.layout import AS_STORED
from medconv.io.microscopy.formats import in_zarr
from medconv.io.readers import without_pictures

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class InputCase:
    """The files of one volume.

    Args:
        case_id: The file's name without suffix, or the folder's name; without the channel number where channels
            lie in files.
        paths: One file or folder with a DICOM series, or one a channel in channel order.
        problem: Why it cannot be predicted, if that is known already.
        layout: What the user states about axes, channels and pixel size of microscopy images.
    """

    case_id: str
    paths: tuple[Path, ...]
    problem: str = ""
    layout: ImageLayout = AS_STORED

    @property
    def suffix(self) -> str:
        """Ending of the mask's file name; see ``medconv.io.mask_suffix_for``."""
        return mask_suffix_for(self.paths[0])


def collect_inputs(
    inputs: Iterable[str | Path],
    channels: int = 1,
    channel_names: Sequence[str] = (),
    layout: ImageLayout | None = None,
) -> list[InputCase]:
    """The cases behind files, folders (not searched deeper), glob patterns and tables.

    A folder stands for the volumes in it; or, if it holds DICOM slices, for that series; or, if it holds
    neither, for those of its sub-folders that hold a series. A DICOM slice stands for the series in its folder.
    A table is a CSV with a column ``image``, or ``image_0``, ``image_1`` … for channels, and maybe ``case_id``;
    see ``medconv.io.discover``.

    Where the network expects several channels, files ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz`` … of one
    folder are one case; a file without such a number is a case of its own that must hold all channels. Where
    it expects one, ``CASE_0000.nii.gz`` is called ``CASE`` too, unless the number tells it from other inputs.

    Args:
        inputs: What the user typed. A file named twice counts once.
        channels: Channels that the network expects.
        channel_names: Their names; files whose ``dataset.json`` has them in another order are refused.
        layout: What the user states about axes, channels and pixel size of microscopy images.

    Raises:
        ConfigError: Names that lead to no file, all at once; a table with problems; channels in another order.
    """
    files: dict[Path, Path] = {}
    cases: list[InputCase] = []
    problems = []
    for item in inputs:
        if _is_table(Path(item)):
            cases += _from_table(Path(item), channel_names)
            continue
        found = list(_files(item))
        files.update({path.resolve(): path for path in found if path.resolve() not in files})
        if not found:
            problems.append(_nothing(item))
    if problems:
        raise ConfigError("; ".join(problems))
    named = list(_cases(files.values(), channels) if channels > 1 else _single_cases(files.values()))
    if channels > 1:
        check_channel_order({path.parent for case in named for path in case.paths}, channel_names)
    return [replace(case, layout=layout or case.layout) for case in (*named, *cases)]


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and path.is_file()


def _from_table(path: Path, channel_names: Sequence[str]) -> list[InputCase]:
    try:
        dataset = discover(path)
    except DatasetError as error:
        raise ConfigError(str(error)) from error
    refuse_other_order(dataset.channel_names, channel_names, path)
    return [InputCase(case.case_id, case.images) for case in dataset.cases]


def _files(item: str | Path) -> Iterator[Path]:
    path = Path(item)
    if path.is_dir() and in_zarr(path):
        yield path
    elif path.is_dir():
        yield from _in_folder(path)
    elif path.is_file() or path.is_symlink():
        yield path.parent if is_dicom_file(path) else path
    else:
        # Path.glob takes no absolute patterns
        matches = sorted(Path(match) for match in glob.glob(str(item), recursive=True))  # noqa: PTH207
        for match in matches:
            if _is_volume(match) or is_series_folder(match):
                yield match
            elif is_dicom_file(match):
                yield match.parent


def _in_folder(folder: Path) -> Iterator[Path]:
    children = sorted(folder.iterdir())
    volumes = without_pictures(child for child in children if _is_volume(child))
    if not is_series_folder(folder):
        yield from volumes or (child for child in children if is_series_folder(child))
    elif volumes:
        raise ConfigError(
            f"the folder {folder} holds DICOM slices and volumes ({volumes[0].name}), so it is not clear what is "
            f"meant; move one kind elsewhere, or name files"
        )
    else:
        yield folder if folder.name.strip(".") else folder.resolve()


def _is_volume(path: Path) -> bool:
    # hidden files are other programs' notes, such as "._scan.nii.gz" from macOS
    return not path.name.startswith(".") and (
        in_zarr(path) or (suffix_of(path) is not None and not path.is_dir())
    )


def _nothing(item: str | Path) -> str:
    kinds = ", ".join(supported_suffixes())
    if Path(item).is_dir():
        return f"expected {kinds} files or DICOM series in the folder {item}, found none"
    if glob.has_magic(str(item)):
        return f"no {kinds} file and no DICOM series matches the pattern {item}"
    return f"no file or folder {item}; relative paths start at {Path.cwd()}"


def _single_cases(files: Iterable[Path]) -> Iterator[InputCase]:
    files = list(files)
    numbered = [_CHANNEL.fullmatch(stem_of(path)) for path in files]
    names = [match["case"] if match else stem_of(path) for path, match in zip(files, numbered, strict=True)]
    taken = Counter(names)
    for path, match, name in zip(files, numbered, names, strict=True):
        is_channel = match is not None and int(match["channel"]) == 0 and taken[name] == 1
        yield InputCase(name if is_channel else stem_of(path), (path,))


def _cases(files: Iterable[Path], channels: int) -> Iterator[InputCase]:
    groups: dict[tuple[Path, str], list[tuple[int, Path]]] = {}
    for path in files:
        stem = stem_of(path)
        match = _CHANNEL.fullmatch(stem)
        if match is None:
            yield InputCase(stem, (path,))
        else:
            numbered = (int(match["channel"]), path)
            groups.setdefault((path.parent.resolve(), match["case"]), []).append(numbered)
    for (_, case_id), members in groups.items():
        yield _channel_case(case_id, sorted(members), channels)


def _channel_case(case_id: str, members: Sequence[tuple[int, Path]], channels: int) -> InputCase:
    numbers, paths = zip(*members, strict=True)
    problem = ""
    if list(numbers) != list(range(channels)):
        wanted = ", ".join(f"{case_id}_{number:04d}" for number in range(channels))
        got = ", ".join(stem_of(path) for path in paths)
        problem = f"{paths[0].parent}: expected the channels {wanted}, got {got}; add or rename the files"
    return InputCase(case_id, tuple(paths), problem)
