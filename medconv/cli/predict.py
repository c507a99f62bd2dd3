"""`medconv predict`: masks for files, folders and patterns, each on its own grid."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from medconv.cli.image_layout import LAYOUT_EXAMPLES, add_layout_options, layout_of
from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.cli.paths import require_file
from medconv.cli.predict_devices import predict_on_devices
from medconv.cli.predict_files import RunFiles, add_file_options, companions_of, prepare_places
from medconv.cli.predict_tables import require_own_files
from medconv.cli.progress import Progress
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.inference import CaseResult

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

_TERMINATED = 143


def main(argv: Sequence[str]) -> int:
    """Parse, predict every case, tell what failed. Returns the exit code."""
    options = _parse(argv[1:])
    _require_files(options)
    if options.devices > 1:
        with _terminated_as_interrupted():
            return predict_on_devices(argv[1:], options)
    from medconv.inference import (  # seconds: torch
        Postprocessing,
        Predictor,
        announce_memory,
        collect_inputs,
        plan_outputs,
        predict_cases,
        shard_cases,
    )

    predictor = Predictor.from_checkpoint(
        *options.checkpoint,
        device=options.device,
        overlap=options.overlap,
        tile_batch=options.tile_batch,
        mirror=options.mirror,
        rotate=options.rotate,
        blend=options.blend,
        precision=options.precision,
        memory_gb=options.memory_gb,
        postprocessing=Postprocessing.load(options.postprocessing) if options.postprocessing else None,
        allow=plugins(options),
    )
    plan, layout = predictor.plan, layout_of(options)
    cases = collect_inputs(options.input, plan.in_channels, plan.channel_names, layout)
    outputs = plan_outputs(cases, options.output)
    if options.shard:
        mine = {id(case) for case in shard_cases(cases, *options.shard)}
        kept = [pair for pair in zip(cases, outputs, strict=True) if id(pair[0]) in mine]
        cases, outputs = [case for case, _ in kept], [output for _, output in kept]
    companions = companions_of(options, cases, predictor)
    remarks = prepare_places(options, predictor)
    files = RunFiles(options, ["medconv", *argv], predictor, cases)
    companions += files.companions
    print(f"{len(cases)} case(s) on {predictor.setting}", flush=True)
    keeps = any(companion.needs_probabilities for companion in companions)
    announcement, has_room = announce_memory(predictor, cases, probabilities=keeps)
    if announcement:
        print(announcement, flush=True)
    for remark in remarks:
        print(f"remark: {remark}", file=sys.stderr)
    progress = Progress(len(cases), sys.stderr)
    jobs = progress.over(zip(cases, outputs, strict=True), name=lambda job: job[0].case_id)
    results = predict_cases(
        predictor,
        jobs,
        skip_existing=options.skip_existing,
        companions=companions,
        measure=files.is_measuring,
        overlap=has_room,
    )
    with _terminated_as_interrupted():
        return _tell(results, len(cases), progress, files)


def _require_files(options: Namespace) -> None:
    """Try what can be tried before seconds are spent on loading PyTorch."""
    for checkpoint in options.checkpoint:
        require_file(checkpoint, "checkpoint")
    if options.postprocessing is not None:
        require_file(options.postprocessing, "YAML file of rules")
    require_own_files(options)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, by which schedulers end jobs, leave no half file either."""

    def leave(*_: object) -> None:
        raise SystemExit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
            print(_line(result), flush=True)
            if result.status == "failed" or problem:
                problems[result.case_id] = problem or result.message
        status = "finished"
    finally:
        progress.clear()
        print(_summary(results, num_cases, time.perf_counter() - start), flush=True)
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


def parse_shard(text: str) -> tuple[int, int]:
    """The share and how many there are, from ``"3/8"``; the first is 1.

    Raises:
        ConfigError: Another text, or a share that does not exist.

    Example:
        >>> parse_shard("3/8")
        (3, 8)
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--shard: expected i/n with i from 1 to n, such as 3/8, got {text!r}")
    return int(number), int(count)


def _parser() -> ArgumentParser:
    parser = command_parser("predict", _DESCRIPTION)
    add = parser.add_argument
    add("checkpoint", nargs="+", help=".ckpt of medconv fit; several are an ensemble")
    add("-i", "--input", nargs="+", action="extend", required=True, help="files, folders, quoted patterns")
    add("-o", "--output", required=True, help="a file (.nii.gz, .tif, .png …) for one input, else a folder")
    add("--skip-existing", action="store_true", help="leave masks alone that exist")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--overlap", type=float, default=0.5, help="share by which tiles overlap, 0 up to 1")
    add("--tile-batch", type=int, default=4, help="tiles that pass the network together")
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
    add("--shard", type=str, default=None, help="i/n: the i-th of n shares of the cases, for job arrays")
    add("--devices", type=int, default=1, help="GPUs (or, with --device cpu, processes) that share the cases")
    add(
        "--precision",
        type=Literal["auto", "fp32", "bf16", "fp16"],
        default="auto",
        help="auto: bf16 on a GPU",
    )
    add_layout_options(parser)
    add_file_options(parser)
    add_plugin_option(parser)
    return parser


def _line(result: CaseResult) -> str:
    remark = f"  ({result.message})" if result.message and result.status != "failed" else ""
    return f"{result.status:8}{result.case_id}  {result.seconds:.1f} s  {result.output}{_certainty(result)}{remark}"


def _certainty(result: CaseResult) -> str:
    """Mean probability of each structure, if probabilities were kept."""
    sure = [f"{s.name} {s.mean_probability:.3f}" for s in result.structures if s.mean_probability is not None]
    return f"  certainty: {', '.join(sure)}" if sure else ""


def _summary(results: Sequence[CaseResult], num_cases: int, seconds: float) -> str:
    count = {status: sum(r.status == status for r in results) for status in ("ok", "skipped", "failed")}
    not_begun = num_cases - len(results)
    text = f"{count['ok']} done, {count['skipped']} skipped, {count['failed']} failed"
    text += f", {not_begun} not finished" if not_begun else ""
    return f"{text} in {seconds:.1f} s{_stages(results)}"


def _stages(results: Sequence[CaseResult]) -> str:
    """Where the time went, if any case was predicted."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.stages)
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in total.items())
    return f" ({spent})" if spent else ""
