"""From a checkpoint to files for other tools, each compared with the network before anything is kept."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError
from medconv.export.bundle import MODEL, write_bundle
from medconv.export.card import Statement, model_card, read_figures
from medconv.export.onnx_file import read_onnx, require_onnx, write_onnx
from medconv.export.parity import Parity, compare, noise_patch
from medconv.export.program import Freedom, build_program, read_program, write_program
from medconv.export.replace import REPORT, files_in, listed_files, put
from medconv.export.torchscript import read_torchscript
from medconv.export.uses import use_of
from medconv.export.weights import read_weights, write_weights
from medconv.inference import Checkpoint, read_checkpoint
from medconv.io import write_text
from medconv.models import SegmentationModel, fold
from medconv.planning import Plan

TARGETS = ("torch", "onnx", "bundle", "safetensors")

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Args:
        folder: Where it is.
        parities: One a target.
        freedom: What the traced graphs take; ``None`` where none was made.
        report: How exactly each file answers; beside the folder where an earlier export stays in it.
        files: What the export consists of, as paths in the folder; none where it was outside the tolerance.
    """

    folder: Path
    parities: tuple[Parity, ...]
    freedom: Freedom | None
    report: Path
    files: tuple[str, ...] = ()

    @property
    def is_within(self) -> bool:
        """Whether every export answers as the network does; if not, only the report was kept."""
        return all(parity.is_within for parity in self.parities)


def export_checkpoint(
    path: str | Path,
    targets: Sequence[str],
    folder: str | Path,
    *,
    tolerance: float = 1e-3,
    statement: Statement | None = None,
    allow: Sequence[str] = (),
    overwrite: bool = False,
) -> Exported:
    """Export a checkpoint for other tools, with a model card and a report of how exactly each file answers.

    Operators are folded first. Every file is read back and run on the same patches as the network that was
    trained. The folder appears whole, or, where an export is outside the tolerance, with ``parity.json`` only; an
    earlier export then stays, and the report lies beside its folder as ``FOLDER.parity.json``.

    Args:
        path: A ``.ckpt`` of ``medconv fit``.
        targets: Of ``"torch"``, ``"onnx"``, ``"bundle"``, ``"safetensors"``.
        folder: Where to write; must not exist, or be empty.
        tolerance: What a logit may differ by.
        statement: Name, licence and authors; ``None``: the name of the run.
        allow: Plug-in packages whose classes the checkpoint may consist of.
        overwrite: Replace an earlier export; files that it does not list stay.

    Raises:
        ConfigError: An unknown target, a tolerance that is none, an absent extra, a folder that is in use, or
            a network that cannot be expressed in the target; with what to do.
        CheckpointError: The checkpoint cannot be read.

    Cost:
        Seconds to a minute a target on a CPU, and a few passes of a patch.
    """
    path, folder = Path(path), Path(folder)
    targets = _checked_targets(targets)
    if not (isfinite(tolerance) and tolerance >= 0):
        raise ConfigError(f"expected a tolerance from 0, got {tolerance}")
    require_free(folder, overwrite)
    if "onnx" in targets:
        require_onnx()
    checkpoint, figures = read_checkpoint(path, allow), read_figures(path)
    statement = statement or Statement(path.resolve().parent.name)
    # a link stays one: the folder that it leads to is written
    place = folder.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.tmp") as temporary:
        work = Path(temporary) / "export"
        work.mkdir()
        trained = checkpoint.build(folded=False)
        runs, freedom = _write(checkpoint, fold(trained), targets, work, statement, figures)
        parities = _compare(trained, checkpoint.plan, runs, freedom, tolerance)
        if not all(parity.is_within for parity in parities):
            report = _write_failing_report(folder, place, parities)
            return Exported(folder, tuple(parities), freedom, report)
        uses = {target: use_of(target, checkpoint.plan, freedom) for target in targets}
        _write_cards(work, model_card(checkpoint, statement, figures, parities, uses))
        files = tuple(sorted([*files_in(work), REPORT]))
        write_text(work / REPORT, _report(parities, files))
        put(work, place)
    return Exported(folder, tuple(parities), freedom, folder / REPORT, files)


def _write_failing_report(folder: Path, place: Path, parities: Sequence[Parity]) -> Path:
    """The report alone: in the folder, or beside it where an earlier export stays."""
    if place.is_dir() and any(place.iterdir()):
        named = folder if folder.name not in ("", "..") else place  # "." has no name to put anything behind
        report = named.with_name(f"{named.name}.{REPORT}")
        write_text(report, _report(parities, (report.name,)))
        return report
    place.mkdir(exist_ok=True)
    write_text(place / REPORT, _report(parities, (REPORT,)))
    return folder / REPORT


def _report(parities: Sequence[Parity], files: Sequence[str]) -> str:
    content = {"files": list(files), "exports": [parity.to_dict() for parity in parities]}
    return json.dumps(content, indent=2) + "\n"


def require_free(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds anything but, where it may be replaced, an earlier export.

    Raises:
        ConfigError: With what to do.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"-o: expected a folder, {folder} is a file; name another")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise ConfigError(f"{folder} exists; name another folder with -o, or replace it with --overwrite")
    if not (folder / REPORT).is_file():
        raise ConfigError(
            f"{folder} holds no earlier export ({REPORT} is missing), so it is not replaced; name another"
        )
    listed_files(folder)


def _checked_targets(targets: Sequence[str]) -> tuple[str, ...]:
    if not targets:
        raise ConfigError(f"expected at least one target of {', '.join(TARGETS)}, got none")
    for target in targets:
        if target not in TARGETS:
            hint = did_you_mean(target, TARGETS) or "."
            raise ConfigError(f"no export target {target!r}{hint} All: {', '.join(TARGETS)}")
    return tuple(dict.fromkeys(targets))


def _write(
    checkpoint: Checkpoint,
    network: SegmentationModel,
    targets: Sequence[str],
    work: Path,
    statement: Statement,
    figures: dict[str, object],
) -> tuple[dict[str, Run], Freedom | None]:
    """Write every target; return how each is run, read back from its file."""
    runs: dict[str, Run] = {}
    freedom = None
    plan_yaml = checkpoint.plan.to_yaml()
    if "torch" in targets or "onnx" in targets:
        program, freedom = build_program(network, checkpoint.plan.patch_size)
        write_text(work / "plan.yaml", plan_yaml)
        if "torch" in targets:
            write_program(program, work / "model.pt2", {"medconv_plan.yaml": plan_yaml})
            runs["torch"] = read_program(work / "model.pt2")
        if "onnx" in targets:
            write_onnx(program, work / "model.onnx", {"medconv_plan": plan_yaml})
            runs["onnx"] = read_onnx(work / "model.onnx")
    if "bundle" in targets:
        write_bundle(checkpoint, network, work / "bundle", statement, figures)
        runs["bundle"] = read_torchscript(work / "bundle" / MODEL)
    if "safetensors" in targets:
        write_weights(checkpoint, network, work)
        runs["safetensors"] = read_weights(work, checkpoint.allow)[0]
    return runs, freedom


@torch.inference_mode()
def _compare(
    trained: SegmentationModel,
    plan: Plan,
    runs: dict[str, Run],
    freedom: Freedom | None,
    tolerance: float,
) -> list[Parity]:
    """Each run against the network as it was trained, nothing folded."""
    own = [(1, *plan.patch_size)]
    shapes = {target: freedom.shapes if freedom and target in ("torch", "onnx") else own for target in runs}
    every = dict.fromkeys(shape for target in runs for shape in shapes[target])
    patches = {
        shape: noise_patch((shape[0], trained.in_channels, *shape[1:]), seed)
        for seed, shape in enumerate(every)
    }
    expected = {shape: trained(patch) for shape, patch in patches.items()}
    return [
        compare(
            target,
            run,
            [expected[s] for s in shapes[target]],
            [patches[s] for s in shapes[target]],
            tolerance,
            plan.regions_class_order,
        )
        for target, run in runs.items()
    ]


def _write_cards(work: Path, card: str) -> None:
    """The card in front, and where MONAI looks for it."""
    write_text(work / "README.md", card)
    if (work / "bundle").is_dir():
        write_text(work / "bundle/docs/README.md", card)
