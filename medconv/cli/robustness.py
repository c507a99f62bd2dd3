"""`medconv robustness`: how scores fall with rotation, noise, blur and contrast, network beside network."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from medconv.cli.image_layout import add_layout_options, layout_of
from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.cli.paths import distinct_names, require_file, require_output_folder
from medconv.cli.progress import Progress
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.cli.robustness_cases import Chosen
    from medconv.inference import Checkpoint
    from medconv.planning import Plan
    from medconv.study import Arm, CaseFindings, Examination
    from medconv.study.measures import Measure

_DESCRIPTION = """\
Disturb labelled images step by step and watch the score of one or several networks: the same cases, the same
noise, paired differences at every level. The first checkpoint is the baseline.

  medconv robustness runs/plain/best.ckpt runs/sym/best.ckpt Task04_Hippocampus --rotate
  medconv robustness best.ckpt data/ --rotate 0 15 30 45 60 75 90 --noise 0.1 0.5 --blur --contrast -o robustness/
  medconv robustness best.ckpt imagesTs --labels labelsTs --shot --gamma 0.5 2 --limit 20

A disturbance without levels takes its default ones; none named takes rotate, noise, blur and contrast. OUT holds
report.html, robustness.png, robustness.csv (curves with 95 % intervals), cases.csv (every case), agreement.csv
(f(disturbed x) beside f(x)), comparison.csv (with several checkpoints) and robustness.json. Cases that fail are
named, the others are done, and the exit code is 1.
"""

_KINDS = {
    "rotate": "angles in degrees; multiples of 90 permute voxels, others interpolate on a larger grid",
    "noise": "Gaussian noise, in standard deviations of the image (--noise-unit)",
    "shot": "shot noise, relative to the bright end: 0.1 is 100 photons there",
    "blur": "standard deviations of a Gaussian, in mm (px where the image has no size)",
    "contrast": "factors on the distance from the mean, clipped to the range of the image",
    "gamma": "powers of values scaled to 0-1",
}
_TOLERANCE_MM = 1.0
_DEFAULT_KINDS = ("rotate", "noise", "blur", "contrast")


def main(argv: Sequence[str]) -> int:
    """Parse, read networks and cases, examine, write, tell. Returns the exit code."""
    options = _parse(argv[1:])
    paths = [require_file(path, "checkpoint") for path in options.checkpoints]
    names = _names(options.names, paths)
    rules = _postprocessing(options.postprocessing, len(paths))
    if options.labels is None and not Path(options.data).exists():
        raise ConfigError(f"no dataset {options.data}; relative paths start at {Path.cwd()}")
    from medconv.cli.robustness_cases import choose_cases
    from medconv.cli.robustness_files import write_study
    from medconv.cli.robustness_page import format_curves
    from medconv.inference import read_checkpoint
    from medconv.study import Robustness, require_same_task

    checkpoints = [read_checkpoint(path, plugins(options)) for path in paths]
    arms = [_arm(*triple, options) for triple in zip(names, checkpoints, rules, strict=True)]
    require_same_task(arms)
    plan = arms[0].predictor.plan
    examination = _examination(options, arms)
    chosen = choose_cases(
        options.data,
        options.labels,
        plan,
        checkpoints,
        layout=layout_of(options),
        every=options.all_cases,
        limit=options.limit,
    )
    require_output_folder(options.output)
    for remark in chosen.remarks:
        print(f"remark: {remark}", file=sys.stderr)
    results = _examine(chosen, arms, examination)
    problems = dict(chosen.problems) | {case.case_id: case.problem for case in results if case.problem}
    done = [case for case in results if case.findings]
    if done:
        found = Robustness(done, names, examination.conditions, examination.measure)
        print(format_curves(found, options.scores))
        for path in write_study(found, examination, options, arms, problems):
            print(f"written  {path}")
    _tell(results, problems)
    return int(bool(problems) or not done)


def _arm(name: str, checkpoint: Checkpoint, rules: str | None, options: Namespace) -> Arm:
    from medconv.inference import Postprocessing, Predictor
    from medconv.study import Arm

    predictor = Predictor(
        [checkpoint.build()],
        [checkpoint.plan],
        device=options.device,
        precision=options.precision,
        mirror=options.mirror,
        postprocessing=Postprocessing.load(rules) if rules else None,
    )
    return Arm(name, predictor)


def _examination(options: Namespace, arms: Sequence[Arm]) -> Examination:
    from medconv.study import Examination, build_conditions

    plan = arms[0].predictor.plan
    options.scores = options.scores or (["ap_50", "pq"] if plan.instances else ["dice"])
    measure = _measure(options, plan)
    asked = {kind: getattr(options, kind) for kind in _KINDS if getattr(options, kind) is not None}
    return Examination(
        conditions=build_conditions(asked or {kind: [] for kind in _DEFAULT_KINDS}, plan, options.about),
        measure=measure,
        seed=options.seed,
        noise_unit=options.noise_unit,
        interpolation=options.interpolation,
        outside=options.outside,
    )


def _measure(options: Namespace, plan: Plan) -> Measure:
    """Single objects, or the structures that ``test`` measures; distances only where they are asked for."""
    from medconv.metrics import Structures
    from medconv.metrics.scores import INSTANCE_SCORES, check_scores
    from medconv.study.measures import Classes, Objects

    if plan.instances:
        check_scores(options.scores, INSTANCE_SCORES)
        if options.tolerance_mm != _TOLERANCE_MM:
            raise ConfigError(
                "--tolerance-mm: has no meaning for single objects, whose scores hold no distance; leave it out"
            )
        return Objects()
    chosen = check_scores(options.scores)
    structures = Structures(
        plan.label_names,
        plan.regions,
        options.tolerance_mm,
        only_regions=bool(plan.regions),
        ignore_label=plan.ignore_label,
    )
    return Classes(structures, any(score.is_distance or score.name == "nsd" for score in chosen))


def _examine(chosen: Chosen, arms: Sequence[Arm], examination: Examination) -> list[CaseFindings]:
    from medconv.study import examine_cases

    progress = Progress(len(chosen.cases), sys.stderr)
    cases = progress.over(chosen.cases, name=lambda case: case.case_id)
    results = list(examine_cases(cases, arms, examination))
    progress.clear()
    return results


def _names(given: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """One name a checkpoint: given ones, those of the runs, or as much of the paths as tells them apart."""
    if given and len(given) != len(paths):
        raise ConfigError(f"--names: expected {len(paths)} name(s), one a checkpoint, got {', '.join(given)}")
    runs = [path.parent.name if path.stem in ("best", "last") else path.stem for path in paths]
    is_telling = all(runs) and len(set(runs)) == len(runs)
    return list(given) or (runs if is_telling else distinct_names(paths, "checkpoints"))


def _postprocessing(given: Sequence[str], count: int) -> list[str | None]:
    """One file for all checkpoints, or one each."""
    if len(given) not in (0, 1, count):
        counts = f"{count} files, one a checkpoint, or 1" if count > 1 else "1 file"
        raise ConfigError(f"--postprocessing: expected {counts}, got {len(given)}")
    for path in given:
        require_file(path, "YAML file of rules")
    files: list[str | None] = [*given] or [None]
    return files if len(files) == count else files * count


def _tell(results: Sequence[CaseFindings], problems: dict[str, str]) -> None:
    for case in results:
        for remark in case.remarks:
            print(f"remark: {case.case_id}: {remark}", file=sys.stderr)
    for name, problem in sorted(problems.items()):
        print(f"failed: {name}: {problem}", file=sys.stderr)
    done = sum(bool(case.findings) for case in results)
    print(f"{done} of {done + len(problems)} case(s) examined", file=sys.stderr)


def _parse(words: Sequence[str]) -> Namespace:
    parser = command_parser("robustness", _DESCRIPTION)
    add = parser.add_argument
    add("checkpoints", nargs="+", type=str, help=".ckpt of medconv fit; the first is the baseline")
    add("data", type=str, help="dataset (dataset.json, CSV), or a folder of images with --labels")
    add("-o", "--output", type=str, default="robustness", help="folder for tables, picture and report")
    add("--config", action="config", help="YAML file with these options")
    _add_disturbances(parser)
    add("--labels", type=str, default=None, help="folder of label maps, where DATA is a folder of images")
    add(
        "--scores",
        nargs="+",
        type=str,
        default=[],
        help="what to measure: dice nsd hd95_mm …, of objects ap_50 ap_75 pq …; default: dice, or ap_50 pq",
    )
    add("--tolerance-mm", type=float, default=_TOLERANCE_MM, help="of the normalised surface Dice")
    add("--names", nargs="+", type=str, default=[], help="what to call the checkpoints")
    add("--limit", type=int, default=None, help="examine at most so many cases, the first ones")
    add("--all-cases", action="store_true", help="examine cases that a checkpoint was trained on, too")
    add("--seed", type=int, default=0, help="of the noise")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add(
        "--precision",
        type=Literal["auto", "fp32", "bf16", "fp16"],
        default="auto",
        help="fp32: exact on GPUs too",
    )
    add("--mirror", action="store_true", help="average over mirrored copies")
    add(
        "--postprocessing",
        nargs="+",
        type=str,
        default=[],
        help="YAML files of medconv tune-postprocessing: one, or one a checkpoint",
    )
    add_layout_options(parser)
    add_plugin_option(parser)
    behind = "behind the checkpoints and the data"
    examples = {kind: f"--{kind} 0.5 1, {behind}" for kind in _KINDS} | {
        "rotate": f"--rotate 0 45 90, {behind}"
    }
    options = parse(parser, words, examples)
    options.scores = [name for words in options.scores for name in re.split(r"[\s,\[\]]+", words) if name]
    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"--limit: expected 1 case or more, got {options.limit}")
    return options


def _add_disturbances(parser: ArgumentParser) -> None:
    add = parser.add_argument
    for kind, text in _KINDS.items():
        add(f"--{kind}", nargs="*", type=float, default=None, metavar="LEVEL", help=text)
    add(
        "--about",
        nargs="+",
        type=str,
        default=[],
        help="what to turn about: R, A, S of the body, 0, 1, 2 of the array; default: through the slices",
    )
    add(
        "--noise-unit",
        type=Literal["sd", "image"],
        default="sd",
        help="of --noise: sd of the image, or its unit",
    )
    add("--interpolation", type=Literal["cubic", "linear"], default="cubic", help="of turned grey values")
    add(
        "--outside",
        type=Literal["reflect", "edge", "minimum"],
        default="reflect",
        help="what lies around a turned image: its mirror image, its border, or its smallest value",
    )
