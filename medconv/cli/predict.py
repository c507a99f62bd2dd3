"""`medconv predict`: masks for files, folders and patterns, each on its own grid."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.cli.paths import require_file
from medconv.cli.progress import Progress
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.inference import CaseResult

_DESCRIPTION = """\
Write a mask for every volume, on its own grid and with its header.

  medconv predict -i scan.nii.gz -o mask.nii.gz runs/unet_sym/best.ckpt
  medconv predict -i imagesTs -o masks fold_0.ckpt fold_1.ckpt --skip-existing
"""


def main(argv: Sequence[str]) -> int:
    """Parse, predict every case, tell what failed. Returns the exit code."""
    options = _parse(argv[1:])
    for checkpoint in options.checkpoint:
        require_file(checkpoint, "checkpoint")
    from medconv.inference import Predictor, collect_inputs, plan_outputs, predict_cases  # seconds: torch

    predictor = Predictor.from_checkpoint(
        *options.checkpoint,
        device=options.device,
        overlap=options.overlap,
        tile_batch=options.tile_batch,
        mirror=options.mirror,
        precision=options.precision,
        allow=plugins(options),
    )
    cases = collect_inputs(options.input, predictor.plan.in_channels)
    outputs = plan_outputs(cases, options.output)
    print(f"{len(cases)} case(s) on {predictor.setting}", flush=True)
    progress = Progress(len(cases), sys.stderr)
    jobs = progress.over(zip(cases, outputs, strict=True), name=lambda job: job[0].case_id)
    return _tell(predict_cases(predictor, jobs, skip_existing=options.skip_existing), len(cases), progress)


def _tell(cases: Iterable[CaseResult], num_cases: int, progress: Progress) -> int:
    """Print each case when it is done and, also after an interruption, the sum and the failures."""
    results: list[CaseResult] = []
    start = time.perf_counter()
    try:
        for result in cases:
            results.append(result)
            progress.clear()
            print(_line(result), flush=True)
    finally:
        progress.clear()
        print(_summary(results, num_cases, time.perf_counter() - start), flush=True)
        failed = [result for result in results if result.status == "failed"]
        for result in failed:
            print(f"failed: {result.case_id}: {result.message}", file=sys.stderr)
    return int(bool(failed))


def _parse(words: Sequence[str]) -> Namespace:
    parser = _parser()
    try:
        return parse(parser, words)
    except ConfigError as error:
        if "required: checkpoint" not in str(error):
            raise
        raise ConfigError(
            "expected a checkpoint, got none. -i takes every word up to the next option, so put the "
            f"checkpoint first or last: {parser.prog} CHECKPOINT -i FILES -o OUTPUT"
        ) from error


def _parser() -> ArgumentParser:
    parser = command_parser("predict", _DESCRIPTION)
    add = parser.add_argument
    add("checkpoint", nargs="+", help=".ckpt of medconv fit; several are an ensemble")
    add("-i", "--input", nargs="+", action="extend", required=True, help="files, folders, quoted patterns")
    add("-o", "--output", required=True, help="a file for one input, else a folder")
    add("--skip-existing", action="store_true", help="leave masks alone that exist")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--overlap", type=float, default=0.5, help="share by which tiles overlap, 0 up to 1")
    add("--tile-batch", type=int, default=4, help="tiles that pass the network together")
    add("--mirror", action="store_true", help="average over mirrored copies too, 2 to 8 times slower")
    add(
        "--precision",
        type=Literal["auto", "fp32", "bf16", "fp16"],
        default="auto",
        help="auto: bf16 on a GPU",
    )
    add_plugin_option(parser)
    return parser


def _line(result: CaseResult) -> str:
    remark = f"  ({result.message})" if result.message and result.status != "failed" else ""
    return f"{result.status:8}{result.case_id}  {result.seconds:.1f} s  {result.output}{remark}"


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
