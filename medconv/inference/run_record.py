"""What a run was: versions, machine, networks, settings, and what became of every case."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medconv import __version__
from medconv.inference.byte_plan import BytePlan
from medconv.inference.case_stages import CaseResult
from medconv.inference.predictor import Predictor
from medconv.inference.separation import Separation
from medconv.inference.statistics import Structure

RECORD_SCHEMA = 1
_PACKAGES = ("torch", "monai", "numpy", "nibabel", "pydicom")
_CHUNK_BYTES = 2**20


def run_record(
    predictor: Predictor,
    checkpoints: Sequence[str | Path],
    results: Sequence[CaseResult],
    *,
    inputs: Mapping[str, Sequence[Path]],
    words: Sequence[str],
    started: datetime,
    status: str,
    device: str = "",
) -> dict[str, Any]:
    """A run as plain values, for a JSON file.

    Args:
        predictor: What predicted.
        checkpoints: Its files; each is hashed, so that a mask can be traced to its weights.
        results: Of the cases so far.
        inputs: Files of each case, those not begun included.
        words: The command as it was typed.
        started: When.
        status: ``"finished"`` or ``"interrupted"``.
        device: Where it was computed, in words, where that was not in this process.
    """
    ended = datetime.now(UTC)
    done = {result.case_id: result for result in results}
    return {
        "schema": RECORD_SCHEMA,
        "status": status,
        "command": list(words),
        "started": started.isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": round((ended - started).total_seconds(), 3),
        "versions": _versions(),
        "machine": {"system": platform.platform(), "device": device or predictor.setting},
        "model": {
            "checkpoints": [{"file": str(path), "sha256": sha256_of(path)} for path in checkpoints],
            "labels": {str(value): name for value, name in predictor.label_names.items()},
            "channels": list(predictor.plan.channel_names),
            "spacing_mm": list(predictor.plan.spacing_mm),
        },
        "settings": {
            "overlap": predictor.overlap,
            "tile_batch": predictor.tile_batch,
            "mirrored_axes": list(predictor.mirrored_axes),
            "rotate": predictor.rotate,
            "turned_copies": [max(1, len(member.turns)) for member in predictor.engine.members],
            "blend": predictor.blend,
            "memory_gb": predictor.memory_gb,
            "postprocessing": {
                str(label): asdict(rule) for label, rule in predictor.postprocessing.rules.items()
            },
            **_thresholds(predictor),
        },
        "counts": _counts(results, len(inputs)),
        "cases": [_case(case_id, paths, done.get(case_id)) for case_id, paths in inputs.items()],
    }


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {"medconv": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a source tree on the path, without metadata
            found[package] = "unknown"
    return found


def _counts(results: Sequence[CaseResult], total: int) -> dict[str, int]:
    counts = {status: sum(r.status == status for r in results) for status in ("ok", "skipped", "failed")}
    return {**counts, "not_finished": total - len(results)}


def _case(case_id: str, paths: Sequence[Path], result: CaseResult | None) -> dict[str, Any]:
    record: dict[str, Any] = {"case": case_id, "inputs": [str(path) for path in paths]}
    if result is None:
        return {**record, "status": "not_finished"}
    return {
        **record,
        "status": result.status,
        "message": result.message,
        "output": str(result.output),
        "seconds": round(result.seconds, 3),
        "stages": {stage: round(seconds, 3) for stage, seconds in result.stages.items()},
        "way": None if result.byte_plan is None else _way(result.byte_plan),
        "memory": None if result.byte_plan is None else _memory(result.byte_plan),
        "structures": [_structure(structure) for structure in result.structures],
    }


def _way(plan: BytePlan) -> dict[str, Any]:
    """How a case was computed: the way that was planned, or the one that memory left in the end."""
    way = plan.way
    return {"device": str(way.device), "gathered_on": str(way.gather), "tile_batch": way.tile_batch}


def _memory(plan: BytePlan) -> dict[str, int]:
    """What the case was planned to take at the most, with what the process held before."""
    return {"host_bytes": plan.host_bytes, "device_bytes": plan.device_bytes}


def _structure(structure: Structure) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(structure).items()}


def _thresholds(predictor: Predictor) -> dict[str, Any]:
    """By what single objects were told apart, if they were."""
    if predictor.plan.instances is None:
        return {}
    return {"instances": (predictor.postprocessing.separation or Separation()).to_dict()}
