"""`medconv predict`: masks for files, folders and patterns, each on its own grid."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from medconv.cli.image_layout import LAYOUT_EXAMPLES, add_layout_options, layout_of
from medconv.cli.lean_imports import without
from medconv.cli.parser import add_plugin_option, command_parser, parse
from medconv.cli.paths import require_file
from medconv.cli.predict_devices import predict_on_devices, require_ray
from medconv.cli.predict_files import RunFiles, add_file_options, companions_of, prepare_places
from medconv.cli.predict_lines import case_line, summary_line
from medconv.cli.predict_network import predictor_settings
from medconv.cli.predict_tables import require_own_files
from medconv.cli.progress import Progress
from medconv.cli.quick_start import quick_start
from medconv.cli.quick_switches import quick_switches
from medconv.cli.shard_option import parse_shard
from medconv.cli.termination import terminated_as_interrupted
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.inference import CaseResult, InputCase, Predictor
    from medconv.inference.companions import Companion
    from medconv.io import ImageLayout

_DESCRIPTION = """\
Write a mask for every volume, on its own grid and with its header.

  medconv predict -i scan.nii.gz -o mask.nii.gz runs/unet_sym/best.ckpt
  medconv predict -i imagesTs -o masks fold_0.ckpt fold_1.ckpt --skip-existing
  medconv predict -i imagesTs -o masks best.ckpt --shard $SLURM_ARRAY_TASK_ID/20
  medconv predict -i study/ -o masks best.ckpt --stats volumes.csv --preview --report run.json
  medconv predict -i wells/ -o masks best.ckpt --channel 0 --pixel-size-um 0.65

Inputs: NIfTI, NRRD or MetaImage files (4-D, or CASE_0000, CASE_0001 … for channels), folders of them, folders with
a DICOM series or of such folders, PNG, JPEG, BMP, TIFF and OME-TIFF images, OME-Zarr folders, quoted patterns, and
CSV tables (image or image_0, image_1 …, case_id). Masks are called like their inputs: NIfTI, but .tif for PNG, JPEG,
BMP and TIFF, .ome.tif for OME-TIFF, .zarr for OME-Zarr; -o mask.png for one. What else is asked for lies in folders
beside them: per_class, probabilities, entropy, preview, dicom_seg; labels.txt and labels.ctbl name the labels for
ITK-SNAP and 3D Slicer. Of several jobs on one folder each takes the cases that no other is making.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, predict every case, tell what failed. Returns the exit code."""
    options = _parse(argv[1:])
    _require_files(options)
    with quick_start():
        # nibabel would load it for an extension of NIfTI headers that nobody reads here: half a second
        with without("pydicom"):
            layout = layout_of(options)
        is_here = options.devices == 1 or options.engine == "ray"
        run = _prepare(argv, options, layout) if is_here else None
    if run is None:
        with terminated_as_interrupted():
            return predict_on_devices(argv[1:], options)
    return _predict_on_ray(run) if options.engine == "ray" else _predict_here(run)


def _prepare(argv: Sequence[str], options: Namespace, layout: ImageLayout) -> _Run:
    """Load what computes, look at all inputs and outputs, and begin nothing."""
    is_ray = options.engine == "ray"
    if not is_ray:
        from medconv.cli.warm_up import warm_up  # seconds: torch

        warm_up(options.device)
    from medconv.inference import Predictor, collect_inputs, plan_outputs, shard_cases

    # in this process networks are only looked at, where actors compute
    changes = {"device": "cpu", "precision": "auto"} if is_ray else {}
    predictor = Predictor.from_checkpoint(*options.checkpoint, **predictor_settings(options, **changes))
    plan = predictor.plan
    cases = collect_inputs(options.input, plan.in_channels, plan.channel_names, layout)
    outputs = plan_outputs(cases, options.output)
    if options.shard:
        mine = {id(case) for case in shard_cases(cases, *options.shard)}
        kept = [pair for pair in zip(cases, outputs, strict=True) if id(pair[0]) in mine]
        cases, outputs = [case for case, _ in kept], [output for _, output in kept]
    companions = companions_of(options, cases, predictor)
    remarks = prepare_places(options, predictor)
    if options.cuda_graph == "true" and predictor.device.type != "cuda" and not is_ray:
        remarks.append("--cuda-graph has no effect: it needs a GPU")
    files = RunFiles(options, ["medconv", *argv], predictor, cases)
    companions += files.companions
    return _Run(options, predictor, list(zip(cases, outputs, strict=True)), companions, files, remarks)


@dataclass(frozen=True)
class _Run:
    """What is to be done, looked at and found possible."""

    options: Namespace
    predictor: Predictor
    jobs: Sequence[tuple[InputCase, Path]]
    companions: Sequence[Companion]
    files: RunFiles
    remarks: Sequence[str]

    def announce(self, where: str, memory: str = "") -> None:
        """Say how much is to be done, and what should be known before it is."""
        print(f"{len(self.jobs)} case(s) on {where}", flush=True)
        if memory:
            print(memory, flush=True)
        for remark in self.remarks:
            print(f"remark: {remark}", file=sys.stderr)


def _predict_here(run: _Run) -> int:
    from medconv.inference import announce_memory, predict_cases

    keeps = any(companion.needs_probabilities for companion in run.companions)
    cases = [case for case, _ in run.jobs]
    announcement, has_room = announce_memory(run.predictor, cases, probabilities=keeps)
    run.announce(run.predictor.setting, announcement)
    progress = Progress(len(run.jobs), sys.stderr)
    results = predict_cases(
        run.predictor,
        progress.over(run.jobs, name=lambda job: job[0].case_id),
        skip_existing=run.options.skip_existing,
        companions=run.companions,
        measure=run.files.is_measuring,
        overlap=has_room,
    )
    with quick_switches(), terminated_as_interrupted():
        return _tell(results, len(run.jobs), progress, run.files)


def _predict_on_ray(run: _Run) -> int:
    from medconv.cli.predict_ray import ray_pool
    from medconv.inference.leftovers import remove_leftovers

    try:
        with ray_pool(run.options) as pool, terminated_as_interrupted():
            run.announce(pool.words)
            run.files.device = pool.words
            progress = Progress(len(run.jobs), sys.stderr)
            results = pool.predict(
                run.jobs,
                run.options.checkpoint,
                predictor_settings(run.options),
                skip_existing=run.options.skip_existing,
                companions=run.companions,
                measure=run.files.is_measuring,
            )
            told = progress.over(results, name=lambda result: result.case_id)
            return _tell(told, len(run.jobs), progress, run.files)
    finally:  # an actor that was killed could not tidy up
        remove_leftovers([output for _, output in run.jobs], run.companions)


def _require_files(options: Namespace) -> None:
    """Try what can be tried before seconds are spent on loading PyTorch."""
    for checkpoint in options.checkpoint:
        require_file(checkpoint, "checkpoint")
    if options.postprocessing is not None:
        require_file(options.postprocessing, "YAML file of rules")
    require_own_files(options)
    if options.engine == "ray":
        require_ray()
        if options.region_table is not None:
            raise ConfigError(
                "--region-table is gathered where masks are written, which actors do apart from each other; leave "
                "--engine ray out, and share the cases with --shard i/n and a table for each"
            )


def _tell(cases: Iterable[CaseResult], num_cases: int, progress: Progress, files: RunFiles) -> int:
    """Print each case when it is done and, also after an interruption, the sum and the failures."""
    results: list[CaseResult] = []
    problems: dict[str, str] = {}
    status = "interrupted"
    start = time.perf_counter()
    try:
        for result in cases:
            results.append(result)
            problem = files.add(result)
            progress.clear()
            print(case_line(result), flush=True)
            if result.status == "failed" or problem:
                problems[result.case_id] = problem or result.message
        status = "finished"
    finally:
        progress.clear()
        print(summary_line(results, num_cases, time.perf_counter() - start), flush=True)
        problems |= _write(files, status)
        for name, problem in problems.items():
            print(f"failed: {name}: {problem}", file=sys.stderr)
    return int(bool(problems))


def _write(files: RunFiles, status: str) -> dict[str, str]:
    """Write table and report; what went wrong, by file."""
    try:
        for path in files.write(status):
            print(path, flush=True)
    except OSError as error:
        return {str(error.filename or "table or report"): f"cannot be written ({error.strerror})"}
    return {}


def _parse(words: Sequence[str]) -> Namespace:
    parser = _parser()
    try:
        options = parse(parser, words, LAYOUT_EXAMPLES)
    except ConfigError as error:
        if "required: checkpoint" not in str(error):
            raise
        raise ConfigError(
            "expected a checkpoint, got none. -i takes every word up to the next option, so put the "
            f"checkpoint first or last: {parser.prog} CHECKPOINT -i FILES -o OUTPUT"
        ) from error
    options.shard = parse_shard(options.shard) if options.shard else None
    if options.devices < 1 or (options.memory_gb is not None and options.memory_gb <= 0):
        raise ConfigError(
            f"expected --devices from 1 and --memory-gb above 0, got {options.devices} and {options.memory_gb}"
        )
    return options


def _parser() -> ArgumentParser:
    parser = command_parser("predict", _DESCRIPTION)
    add = parser.add_argument
    add("checkpoint", nargs="+", help=".ckpt of medconv fit; several are an ensemble")
    add("-i", "--input", nargs="+", action="extend", required=True, help="files, folders, quoted patterns")
    add("-o", "--output", required=True, help="a file (.nii.gz, .tif, .png …) for one input, else a folder")
    add("--skip-existing", action="store_true", help="leave masks alone that exist")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--overlap", type=float, default=0.5, help="share by which tiles overlap, 0 up to 1")
    add(
        "--tile-batch",
        type=int,
        default=None,
        help="tiles that pass the network together; 4, more of small ones on a GPU",
    )
    add("--mirror", action="store_true", help="average over mirrored copies too, 2 to 8 times slower")
    add(
        "--rotate",
        action="store_true",
        help="average over quarter-turns in square planes too, 4 to 24 times slower",
    )
    add(
        "--blend",
        type=Literal["gaussian", "crop"],
        default="gaussian",
        help="how overlapping tiles are weighed",
    )
    add(
        "--memory-gb",
        type=float,
        default=None,
        help="GiB of main memory, and of the GPU's, at the most",
    )
    add("--postprocessing", type=str, default=None, help="YAML file of medconv tune-postprocessing")
    add(
        "--cuda-graph",
        type=Literal["auto", "true", "false"],
        default="auto",
        help="record a pass over tiles on a GPU and replay it: true, false, or auto: small tiles",
    )
    add("--shard", type=str, default=None, help="i/n: the i-th of n shares of the cases, for job arrays")
    add("--devices", type=int, default=1, help="GPUs (or, with --device cpu, processes) that share the cases")
    add(
        "--engine",
        type=Literal["local", "ray"],
        default="local",
        help="ray: --devices actors of Ray Data, on the cluster at RAY_ADDRESS if that is set",
    )
    add(
        "--precision",
        type=Literal["auto", "fp32", "bf16", "fp16"],
        default="auto",
        help="auto: bf16 on a GPU; fp32: exact there too (no TF32), slower",
    )
    add_layout_options(parser)
    add_file_options(parser)
    add_plugin_option(parser)
    return parser
