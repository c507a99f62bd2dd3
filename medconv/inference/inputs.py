"""Which volumes a user means by files, folders and patterns, and which files make up one case."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medconv.errors import ConfigError
from medconv.io import stem_of, suffix_of, supported_suffixes

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class InputCase:
    """The files of one volume.

    Args:
        case_id: The file's name without suffix; without the channel number where channels lie in files.
        paths: One file, or one a channel in channel order.
        problem: Why it cannot be predicted, if that is known already.
    """

    case_id: str
    paths: tuple[Path, ...]
    problem: str = ""

    @property
    def suffix(self) -> str:
        """Ending of the mask's file name: that of the input."""
        return suffix_of(self.paths[0]) or supported_suffixes()[0]


def collect_inputs(inputs: Iterable[str | Path], channels: int = 1) -> list[InputCase]:
    """The cases behind a list of files, folders (not searched deeper) and glob patterns.

    Where the network expects several channels, files ``CASE_0000.nii.gz``, ``CASE_0001.nii.gz`` … of one
    folder are one case; a file without such a number is a case of its own that must hold all channels. Where
    it expects one, ``CASE_0000.nii.gz`` is called ``CASE`` too, unless the number tells it from other inputs.

    Args:
        inputs: What the user typed. A file named twice counts once.
        channels: Channels that the network expects.

    Raises:
        ConfigError: Names that lead to no file, all at once.
    """
    files: dict[Path, Path] = {}
    problems = []
    for item in inputs:
        found = list(_files(item))
        files.update({path.resolve(): path for path in found if path.resolve() not in files})
        if not found:
            problems.append(_nothing(item))
    if problems:
        raise ConfigError("; ".join(problems))
    return list(_cases(files.values(), channels) if channels > 1 else _single_cases(files.values()))


def _files(item: str | Path) -> Iterator[Path]:
    path = Path(item)
    if path.is_dir():
        yield from sorted(child for child in path.iterdir() if _is_volume(child))
    elif path.is_file() or path.is_symlink():
        yield path
    else:
        # Path.glob takes no absolute patterns
        matches = sorted(Path(match) for match in glob.glob(str(item), recursive=True))  # noqa: PTH207
        yield from (match for match in matches if _is_volume(match))


def _is_volume(path: Path) -> bool:
    # hidden files are other programs' notes, such as "._scan.nii.gz" from macOS
    return suffix_of(path) is not None and not path.name.startswith(".") and not path.is_dir()


def _nothing(item: str | Path) -> str:
    kinds = " or ".join(supported_suffixes())
    if Path(item).is_dir():
        return f"expected {kinds} files in the folder {item}, found none"
    if glob.has_magic(str(item)):
        return f"no {kinds} file matches the pattern {item}"
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
