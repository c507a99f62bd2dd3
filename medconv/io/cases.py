"""What a dataset is: cases, their files, and the names of channels and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from medconv.errors import DatasetError
from medconv.io.declared_labels import DeclaredLabels
from medconv.io.layout import AS_STORED, ImageLayout
from medconv.io.microscopy.formats import is_mask_pattern, is_microscopy, mask_files
from medconv.io.readers import is_named_volume, is_volume, supported_suffixes

_CASE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class Case:
    """One examination.

    Args:
        case_id: Unique in the dataset; letters, digits, ``. _ -``, at most 128.
        images: One file with all channels, or one file a channel.
        label: The label map, or ``None`` where nobody drew one.
        group: Cases of one group (a patient) are never divided between training and validation.
        layout: What the user states about axes, channels and pixel size of microscopy images.
    """

    case_id: str
    images: tuple[Path, ...]
    label: Path | None
    group: str
    layout: ImageLayout = AS_STORED


@dataclass(frozen=True)
class Dataset:
    """Cases that were checked to exist, and what their channels and label values mean.

    Args:
        root: The folder that all relative paths start from.
        cases: Sorted by ``case_id``.
        channel_names: In the order of the channels.
        label_names: Label value to name, 0 to K - 1, 0 being background; empty where nothing is declared.
        regions: See ``DeclaredLabels``.
        regions_class_order: See ``DeclaredLabels``.
        ignore_label: See ``DeclaredLabels``.
        instances: See ``DeclaredLabels``.
    """

    root: Path
    cases: tuple[Case, ...]
    channel_names: tuple[str, ...]
    label_names: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    regions_class_order: tuple[int, ...] = ()
    ignore_label: int | None = None
    instances: bool = False

    @classmethod
    def declaring(
        cls, root: Path, cases: tuple[Case, ...], channel_names: tuple[str, ...], labels: DeclaredLabels
    ) -> Dataset:
        """A dataset with what a description says about its labels."""
        rules = (labels.regions, labels.regions_class_order, labels.ignore_label, labels.instances)
        return cls(root, cases, channel_names, labels.names, *rules)

    @property
    def is_microscopy(self) -> bool:
        """Whether the images are microscopy, by the names of their files."""
        return bool(self.cases) and all(is_microscopy(case.images[0]) for case in self.cases)

    @property
    def labels(self) -> DeclaredLabels:
        """What is declared about the labels."""
        rules = (self.regions, self.regions_class_order, self.ignore_label, self.instances)
        return DeclaredLabels(self.label_names, *rules)


def check_cases(
    source: Path, cases: Sequence[Case], problems: list[str], *, tolerant: bool = False
) -> tuple[Case, ...]:
    """Sort cases and refuse the dataset if anything is wrong with it.

    Args:
        source: The file or folder that describes the dataset.
        cases: As found.
        problems: What was already found wrong; ids, duplicates and missing files are added.
        tolerant: Leave out the cases that have a problem instead of refusing the dataset.

    Raises:
        DatasetError: There is at least one problem, or no case; every problem is listed.
    """
    seen: dict[str, int] = {}
    used: dict[Path, str] = {}
    good = []
    for case in cases:
        before = len(problems)
        seen[case.case_id] = seen.get(case.case_id, 0) + 1
        if not _CASE_ID.fullmatch(case.case_id) or set(case.case_id) == {"."}:
            problems.append(f"case id {case.case_id!r}: use 1 to 128 letters, digits, '.', '_' or '-'")
        _check_files(case, used, problems)
        if len(problems) == before and seen[case.case_id] == 1:
            good.append(case)
    problems.extend(f"case id {case_id!r} occurs {n} times" for case_id, n in seen.items() if n > 1)
    if not cases and not problems:
        problems.append("no cases found")
    if not tolerant:
        raise_problems(source, problems)
    return tuple(sorted(good, key=lambda case: case.case_id))


def raise_problems(source: Path, problems: Sequence[str]) -> None:
    """Raise one error that lists every problem, or return if there is none.

    Raises:
        DatasetError: ``problems`` is not empty.
    """
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise DatasetError(
            f"{source}: {len(problems)} problem(s) to correct before the dataset can be used:\n{listed}"
        )


def resolve_inside(root: Path, entry: object, where: str, problems: list[str]) -> Path | None:
    """The file that an entry of a description names, if it is relative and stays inside ``root``.

    Links are followed first, so a link that leads out of the folder is refused too.
    """
    if not isinstance(entry, str) or not entry:
        problems.append(f"{where}: expected a path, got {entry!r}")
        return None
    if PurePosixPath(entry).is_absolute() or PureWindowsPath(entry).drive or "\0" in entry:
        problems.append(f"{where}: {entry!r} is not relative to the dataset folder")
        return None
    path = root / entry
    if not _is_inside(path, root):
        problems.append(
            f"{where}: {entry!r} leads out of the dataset folder; copy the file into it, or list it in a CSV"
        )
        return None
    return path


def _is_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a ring of links leads nowhere
        return False


def is_hidden(path: Path) -> bool:
    """Whether a file is the left-over of a system or a writer (``._x``, ``.DS_Store``, ``.x.tmp…``)."""
    return path.name.startswith(".")


def _check_files(case: Case, used: dict[Path, str], problems: list[str]) -> None:
    own: set[Path] = set()
    for path in (*case.images, *([case.label] if case.label else [])):
        if not is_named_volume(path):
            kinds = ", ".join(supported_suffixes())
            problems.append(f"case {case.case_id}: {path.name} does not end in {kinds}")
        elif not is_volume(path) and not (is_mask_pattern(path) and mask_files(path)):
            problems.append(f"case {case.case_id}: no such file: {path}")
        elif (file := path.resolve()) in own:
            problems.append(
                f"case {case.case_id}: {path.name} is given twice; give each channel and the label its own file"
            )
        elif (owner := used.setdefault(file, case.case_id)) != case.case_id:
            problems.append(f"case {case.case_id}: {path.name} is also used by case {owner}")
        else:
            own.add(file)
