"""`medconv tune-postprocessing`: which clean-up helps which class, learned on validation cases."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from medconv.cli.image_layout import LAYOUT_EXAMPLES, add_layout_options, layout_of
from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.cli.paths import require_output_folder
from medconv.cli.progress import Progress
from medconv.errors import ConfigError, DatasetError, MedconvError

if TYPE_CHECKING:
    from medconv.evaluation import Matching, Pair
    from medconv.inference import PostprocessingTuner, Predictor, Tuned
    from medconv.inference.tune_separation import SeparationTuner
    from medconv.io import Volume

_DESCRIPTION = """\
Learn on validation cases what to do with each class after the network: keep the largest component, close holes,
remove what is smaller than so many ml. A rule is taken only where it raises the mean Dice of these cases. For a
network that tells objects apart: which thresholds of mask and seed, and which smallest size, give the highest mean
panoptic quality; that takes the checkpoint.

  medconv tune-postprocessing masks/ labelsVal/ -o postprocessing.yaml
  medconv tune-postprocessing best.ckpt labelsVal/ -i imagesVal -o postprocessing.yaml
  medconv predict best.ckpt -i imagesTs -o masks --postprocessing postprocessing.yaml

Cases that neither the training nor a figure that you report has seen decide best. An absent structure that is not
found counts as a Dice of 1, so that removing false findings is rewarded.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, read every pair, decide, write, tell. Returns the exit code."""
    options = _parse(argv[1:])
    from medconv.evaluation import declared_label_names, match_cases  # seconds: numpy, torch
    from medconv.inference import PostprocessingTuner

    _require_rules(Path(options.output))
    predictor = _predictor(options)
    # references are paired with masks, or with the images that the checkpoint gets
    predictions = options.images if predictor else options.predictions
    matching = match_cases(predictions, options.references, layout=layout_of(options))
    if not matching.pairs:
        raise DatasetError(
            f"expected predictions and references of one name, got none ({_unpaired(matching)})"
        )
    if predictor is not None and predictor.plan.instances is not None:
        return _tune_objects(predictor, matching, options.output)
    names = _names(predictor, declared_label_names(matching.pairs[0].reference, matching.label_names))
    tuner = PostprocessingTuner(1 + (max(names) if names else _largest_label(matching)))
    problems = _problems(matching)
    _count(tuner, matching.pairs, predictor, problems)
    tuned = tuner.result()
    tuned.postprocessing.save(options.output, names)
    print("\n".join(_lines(tuned, names, options.output)))
    return _tell(problems)


def _tune_objects(predictor: Predictor, matching: Matching, output: str) -> int:
    """Tell objects apart with every choice of thresholds, and write the best."""
    from medconv.inference import Postprocessing
    from medconv.inference.tune_separation import SeparationTuner

    tuner, problems = SeparationTuner(), _problems(matching)
    usable = []
    for pair in matching.pairs:
        try:
            tuner.see_reference(_read(pair, pair.reference, None).data[0])
            usable.append(pair)
        except MedconvError as error:
            problems[pair.case_id] = str(error)
    progress = Progress(len(usable), sys.stderr)
    for pair in progress.over(usable, name=lambda pair: pair.case_id):
        try:
            _try_objects(tuner, predictor, pair)
        except MedconvError as error:
            problems[pair.case_id] = str(error)
    progress.clear()
    code = _tell(problems)
    tuned = tuner.result()
    Postprocessing(separation=tuned.separation).save(output)
    print(f"mean panoptic quality {tuned.before:.4f} -> {tuned.after:.4f}")
    print(", ".join(f"{name} {value:g}" for name, value in tuned.separation.to_dict().items()))
    print(f"{tuned.num_cases} case(s) decided; {output}")
    return code


def _try_objects(tuner: SeparationTuner, predictor: Predictor, pair: Pair) -> None:
    from medconv.io import read_image, require_same_grid

    image = read_image([pair.prediction], channels=predictor.plan.in_channels, layout=pair.layout)
    reference = _read(pair, pair.reference, None)
    require_same_grid(reference, image)
    tuner.add(predictor.fields(image), reference.data[0])


def _problems(matching: Matching) -> dict[str, str]:
    unpaired = dict.fromkeys(matching.without_prediction, "no prediction of this name")
    return {**matching.problems, **unpaired}


def _tell(problems: Mapping[str, str]) -> int:
    for name, problem in sorted(problems.items()):
        print(f"failed: {name}: {problem}", file=sys.stderr)
    return int(bool(problems))


def _count(
    tuner: PostprocessingTuner,
    pairs: Sequence[Pair],
    predictor: Predictor | None,
    problems: dict[str, str],
) -> None:
    """Show the tuner every reference, then every case; what cannot be used goes to ``problems``."""
    usable = []
    for pair in pairs:
        try:
            reference = _read(pair, pair.reference, tuner.num_classes)
            tuner.see_reference(reference.data[0], reference.geometry.spacing_mm)
            usable.append(pair)
        except MedconvError as error:
            problems[pair.case_id] = str(error)
    progress = Progress(len(usable), sys.stderr)
    for pair in progress.over(usable, name=lambda pair: pair.case_id):
        try:
            reference = _read(pair, pair.reference, tuner.num_classes)
            labels = _labels(pair, reference, predictor, tuner.num_classes)
            tuner.add(labels, reference.data[0], reference.geometry.spacing_mm)
        except MedconvError as error:
            problems[pair.case_id] = str(error)
    progress.clear()


def _read(pair: Pair, path: Path, num_classes: int | None) -> Volume:
    """A label map of a pair; without a number of classes, one of numbered objects."""
    from medconv.evaluation.read_pair import reader_of

    return reader_of(pair, path).read_labels(
        path, allowed=None if num_classes is None else range(num_classes)
    )


def _labels(pair: Pair, reference: Volume, predictor: Predictor | None, num_classes: int) -> Any:
    from medconv.io import require_same_grid

    if predictor is None:
        mask = _read(pair, pair.prediction, num_classes)
        require_same_grid(reference, mask)
        return mask.data[0]
    prediction = predictor.predict(pair.prediction, layout=pair.layout)
    require_same_grid(reference, prediction.volume)
    return prediction.labels.reshape(prediction.volume.shape)


def _predictor(options: Namespace) -> Predictor | None:
    if not options.predictions.lower().endswith(".ckpt"):
        if options.images:
            raise ConfigError("-i goes with a checkpoint; a folder of masks needs no images, leave it out")
        asked = {
            "--mirror": options.mirror,
            "--device": options.device != "auto",
            "--channel": options.channel,
            "--plugin": options.plugin,
        }
        for option in (option for option, is_asked in asked.items() if is_asked):
            raise ConfigError(
                f"{option} goes with a checkpoint; a folder of masks needs no network, leave it out"
            )
        return None
    if not options.images:
        raise ConfigError("a checkpoint needs the images of the validation cases: -i FOLDER")
    from medconv.inference import Predictor

    return Predictor.from_checkpoint(
        options.predictions, device=options.device, mirror=options.mirror, allow=plugins(options)
    )


def _require_rules(output: Path) -> None:
    """Refuse to replace anything but rules."""
    from medconv.inference import Postprocessing

    if not output.exists() or output.stat().st_size == 0:
        return
    try:
        Postprocessing.load(output)
    except ConfigError as error:
        raise ConfigError(
            f"-o: {output} exists and holds no rules, so it is not replaced; name another ({error})"
        ) from error


def _names(predictor: Predictor | None, declared: Mapping[int, str]) -> dict[int, str]:
    names = predictor.label_names if predictor else dict(declared)
    return {label: name for label, name in names.items() if label}


def _largest_label(matching: Matching) -> int:
    return max(int(_read(p, p.reference, None).data.max()) for p in matching.pairs)


def _unpaired(matching: Matching) -> str:
    sides = {"predictions": matching.without_reference, "references": matching.without_prediction}
    return ", ".join(f"{side}: {' '.join(found[:3]) or 'none'}" for side, found in sides.items())


def _lines(tuned: Tuned, names: Mapping[int, str], output: str) -> Iterator[str]:
    for label, before in tuned.before.items():
        rule = tuned.postprocessing.rules.get(label)
        words = [
            "largest component" if rule and rule.largest_component else "",
            "holes filled" if rule and rule.fill_holes else "",
            f"from {rule.min_volume_ml:.3g} ml" if rule and rule.min_volume_ml else "",
        ]
        said = ", ".join(filter(None, words)) or "as it is"
        yield f"{names.get(label, f'label_{label}'):20} Dice {before:.4f} -> {tuned.after[label]:.4f}  {said}"
    yield f"{tuned.num_cases} case(s) decided; {output}"


def _parse(words: Sequence[str]) -> Namespace:
    parser = command_parser("tune-postprocessing", _DESCRIPTION)
    add = parser.add_argument
    add("predictions", type=str, help="folder of masks, or a .ckpt with -i")
    add("references", type=str, help="folder of masks, or a dataset (dataset.json, CSV)")
    add("-o", "--output", type=str, default="postprocessing.yaml", help="YAML file for medconv predict")
    add("-i", "--images", type=str, default=None, help="folder of the images, with a checkpoint")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:N or mps, with a checkpoint")
    add("--mirror", action="store_true", help="average over mirrored copies, with a checkpoint")
    add_layout_options(parser)
    add_plugin_option(parser)
    options = parse(parser, words, LAYOUT_EXAMPLES)
    if Path(options.output).suffix not in (".yaml", ".yml"):
        raise ConfigError(f"-o: expected a file ending in .yaml, got {options.output}")
    require_output_folder(Path(options.output).parent)
    return options
