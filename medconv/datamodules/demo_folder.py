"""The folder of a demo: generated whole or not at all, never over something else."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from medconv.datamodules.demo_flavours import FLAVOURS, VOLUMES, Flavour
from medconv.errors import NotADatasetError

_PARAMETERS = "demo.json"


def generate_demo(root: str | Path, parameters: Mapping[str, int | str]) -> None:
    """Write the demo dataset, whole or not at all, unless it is there already with the same parameters.

    Several processes may do this at once: each makes its own folder, the first to finish gives it its name.

    Raises:
        NotADatasetError: ``root`` holds something that is not a demo dataset.
    """
    root = Path(root)
    if _parameters_of(root) == parameters:
        return
    if root.exists() and (not root.is_dir() or (any(root.iterdir()) and _parameters_of(root) is None)):
        raise NotADatasetError(
            f"{root}: holds something other than a demo dataset, which is not overwritten; give another root"
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{root.name}.tmp", dir=root.parent))
    try:
        made.chmod(0o755)
        _write_dataset(made, parameters)
        _take_place(made, root)
    except OSError:
        if _parameters_of(root) != parameters:  # else another process was faster with the same
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _parameters_of(root: Path) -> Any:
    """What a demo folder was generated with; ``None`` for any other folder."""
    try:
        return json.loads((root / _PARAMETERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _take_place(made: Path, root: Path) -> None:
    if root.exists():
        outdated = Path(tempfile.mkdtemp(prefix=f".{root.name}.tmp", dir=root.parent))
        try:
            root.replace(outdated)
            made.replace(root)
        finally:
            shutil.rmtree(outdated, ignore_errors=True)
    else:
        made.replace(root)


def _write_dataset(folder: Path, parameters: Mapping[str, Any]) -> None:
    flavour = FLAVOURS[parameters.get("flavour", VOLUMES)]
    training, test = parameters["num_cases"], parameters["num_test_cases"]
    names = [
        (f"demo_{i:03d}{flavour.suffix}", "Tr" if i < training else "Ts") for i in range(training + test)
    ]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        jobs = [
            pool.submit(
                flavour.write_case,
                folder / f"images{part}" / name,
                folder / f"labels{part}" / name,
                parameters["demo_seed"],
                i,
            )
            for i, (name, part) in enumerate(names)
        ]
        for job in jobs:
            job.result()
    (folder / "dataset.json").write_text(json.dumps(_description(flavour, names), indent=2), encoding="utf-8")
    (folder / _PARAMETERS).write_text(json.dumps(parameters), encoding="utf-8")


def _description(flavour: Flavour, names: list[tuple[str, str]]) -> dict[str, Any]:
    training = [name for name, part in names if part == "Tr"]
    test = [name for name, part in names if part == "Ts"]
    return {
        "name": "medconv demo",
        **flavour.description,
        "numTraining": len(training),
        "numTest": len(test),
        "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in training],
        "test": [f"./imagesTs/{n}" for n in test],
    }
