"""Prepared cases on disk: made once, checked at every start, mapped into memory."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from medconv import __version__
from medconv.datamodules.file_state import file_state
from medconv.datamodules.npz import is_intact, map_arrays
from medconv.datamodules.record_json import record_from_json, record_to_json
from medconv.errors import BadImageError, DatasetError, MedconvError
from medconv.io import Case, atomic_path, read_image, reader_for
from medconv.metrics.unnumbered import unnumbered_text
from medconv.planning import Plan
from medconv.transforms.crop import find_locations
from medconv.transforms.preprocess import Preprocessor
from medconv.transforms.record import Record

Array = npt.NDArray[Any]

_SCHEMA = 1
_THREADS = 8

_MOST_OPEN = 256
"""Each open entry holds a file, of which a process may have 1024 on many systems."""


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """What training and measuring need of one case; the arrays are memory-mapped and read-only.

    Args:
        image: ``(C, *S')`` float32, as the network sees it.
        label: ``(1, *S')`` on the same grid.
        native_label: ``(*S)`` on the stored grid, three axes, where figures are taken.
        locations: For each foreground class that is present: voxel indices ``(n, d)`` in ``label``.
        record: What preparation did, to undo it.
    """

    image: Array
    label: Array
    native_label: Array
    locations: dict[int, Array]
    record: Record


class CaseCache:
    """Prepare each case once and find it again, by everything its preparation depends on.

    The name of an entry holds a hash of the plan (but for the patch size), of the versions that prepare, and
    of path, size and modification time of the files: a change of any of them makes a new entry, and an old
    one is never taken for a new one. Entries are written whole or not at all; one that does not match its
    check sums is made again. The folder may be deleted at any time.

    Args:
        folder: Where entries lie; made when needed.
        plan: How cases are prepared.
    """

    def __init__(self, folder: str | Path, plan: Plan) -> None:
        self.folder, self.plan = Path(folder), plan
        self._checked: set[Path] = set()
        self._opened: dict[Path, PreparedCase] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without open maps: they would be sent to a worker as copies."""
        return self.__dict__ | {"_opened": {}}

    def build(self, cases: Sequence[Case], progress: str = "preparing cases") -> dict[str, str]:
        """Make sure of an intact entry for each case, several at a time.

        Args:
            cases: To be prepared.
            progress: What the progress bar says; it appears only in a terminal.

        Returns:
            What is wrong with the cases that cannot be used, by case id; empty where all is well.

        Raises:
            DatasetError: The folder cannot be written.
        """
        paths = {case.case_id: self.path(case) for case in cases}
        todo = [case for case in cases if paths[case.case_id] not in self._checked]
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            outcomes = pool.map(self._ensure, todo)
            bar = tqdm(outcomes, progress, len(todo), leave=False, file=sys.stderr, disable=None)
            problems = dict(zip((case.case_id for case in todo), bar, strict=True))
        self._checked |= {paths[case_id] for case_id, problem in problems.items() if problem is None}
        return {case_id: problem for case_id, problem in problems.items() if problem is not None}

    def open(self, case: Case) -> PreparedCase:
        """The entry of a case that was built, mapped; each process keeps the latest few hundred open."""
        path = self.path(case)
        if path not in self._opened:
            if len(self._opened) >= _MOST_OPEN:
                self._opened.pop(next(iter(self._opened)))
            self._opened[path] = _read(path)
        return self._opened[path]

    def path(self, case: Case) -> Path:
        """Where the entry of a case lies, or will lie."""
        facts: dict[str, Any] = {
            "schema": _SCHEMA,
            "versions": [__version__, np.__version__, torch.__version__],
            "plan": {name: value for name, value in self.plan.to_dict().items() if name != "patch_size"},
            "files": [file_state(path) for path in (*case.images, case.label)],
        }
        if case.layout.is_stated:
            facts["layout"] = asdict(case.layout)
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return self.folder / f"{case.case_id}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"

    def _ensure(self, case: Case) -> str | None:
        path = self.path(case)
        try:
            if not is_intact(path):
                self._write(path, case)
        except MedconvError as error:
            return str(error)
        except OSError as error:
            raise DatasetError(
                f"{self.folder}: prepared cases cannot be written there ({error}); set cache_dir to a folder "
                f"with room that can be written"
            ) from error
        return None

    def _write(self, path: Path, case: Case) -> None:
        if case.label is None:
            raise BadImageError("no label map; draw one, or leave the case out of the training set")
        prepare = Preprocessor(self.plan)
        volume = read_image(case.images, channels=self.plan.in_channels, layout=case.layout)
        reader = reader_for(case.label, case.layout.of_labels())
        labels = reader.read_labels(case.label, allowed=self.plan.declared.allowed, like=volume)
        if self.plan.instances is not None and (text := unnumbered_text(labels.data[0])):
            raise BadImageError(f"{case.label}: {text}")
        image, record = prepare.apply(volume)
        label = prepare.apply_label(labels, record).numpy()
        arrays = {
            "image": image.numpy(),
            "label": label,
            "native_label": labels.data[0],
            "record": np.frombuffer(record_to_json(record).encode(), np.uint8),
        }
        for value, voxels in find_locations(label, self.plan.num_labels).items():
            arrays[f"locations_{value}"] = voxels
        with atomic_path(path) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)


def _read(path: Path) -> PreparedCase:
    arrays = map_arrays(path)
    return PreparedCase(
        image=arrays.pop("image"),
        label=arrays.pop("label"),
        native_label=arrays.pop("native_label"),
        record=record_from_json(arrays.pop("record").tobytes().decode()),
        locations={int(name.removeprefix("locations_")): voxels for name, voxels in arrays.items()},
    )
