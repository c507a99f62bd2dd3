"""The model card: what a stranger must know before using an exported model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from medconv import __version__
from medconv.errors import DatasetError
from medconv.export.parity import Parity
from medconv.inference import Checkpoint, Separation
from medconv.lengths import edges_text, length_in, shown_unit
from medconv.metrics import INSTANCE_SCORES
from medconv.metrics.length_unit import factor_in
from medconv.planning import Plan

_NORMALIZATIONS = {
    "zscore": "mean 0 and standard deviation 1 over all voxels",
    "percentile": "clipped to its own 0.5th and 99.5th percentile, then mean 0 and standard deviation 1",
    "range": "its own 0.5th and 99.9th percentile become −0.5 and 3.5, clipped there",
    "ct": "clipped to {low:g} … {high:g}, then (x − {mean:.5g}) / {std:.5g}",
    "none": "as it is",
}


@dataclass(frozen=True)
class Statement:
    """What only a person can say about a model.

    Args:
        name: What it is called.
        licence: Under which terms its weights may be used.
        authors: Who made it.
    """

    name: str
    licence: str = ""
    authors: str = ""

    @property
    def licence_text(self) -> str:
        """The licence, or that none was stated."""
        return self.licence or (
            "No licence was stated for these weights; ask whoever trained them before you use or pass them on."
        )


def read_figures(checkpoint: Path) -> dict[str, Any]:
    """The summaries of ``table.json`` and, of single objects, ``objects.json`` beside a checkpoint.

    Returns:
        ``summary`` and ``tolerances_mm``, and ``objects``; nothing of a file that is absent.

    Raises:
        DatasetError: A file is there and cannot be read.
    """
    table, objects = (_read_table(checkpoint.parent / name) for name in ("table.json", "objects.json"))
    found = {"objects": objects["summary"]} if objects else {}
    if table:
        tolerances = table["conventions"].get("nsd_tolerance_mm", {})
        found |= {"summary": table["summary"], "tolerances_mm": tolerances}
    return found


def _read_table(path: Path) -> dict[str, Any]:
    """Summary and conventions of a table; empty where there is none."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"summary": dict(content["summary"]), "conventions": dict(content["conventions"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: expected the table that medconv fit writes ({type(error).__name__}: {error}); measure it again "
            "with medconv test, or move the file away to export without figures"
        ) from error


def model_card(
    checkpoint: Checkpoint,
    statement: Statement,
    figures: Mapping[str, Any],
    parities: Sequence[Parity],
    uses: Mapping[str, str],
) -> str:
    """The card as Markdown.

    Args:
        checkpoint: What was exported.
        statement: Name, licence, authors.
        figures: Of ``read_figures``.
        parities: One an export.
        uses: How each exported file is used: a title, and Markdown.
    """
    parts = [
        f"# {statement.name}\n",
        f"{_task(checkpoint.plan)} in {_listed(checkpoint.plan.channel_names)}. Exported by medconv "
        f"{__version__} from a checkpoint of medconv {checkpoint.version}"
        + (f", trained for {checkpoint.step:,} steps" if checkpoint.step else "")
        + (f", by {statement.authors}" if statement.authors else "")
        + ".\n",
        "## Labels\n",
        _labels(checkpoint.plan),
        "## What the network expects\n",
        *_plan_lines(checkpoint.plan),
        "\n## Figures\n",
        _figures(figures, checkpoint.plan),
        "## Data\n",
        _data(checkpoint.config),
        "## Exported files\n",
        "Operators that equal a plain convolution were folded into one first. Each file was run on the same patches as "
        "the network that was trained:\n",
        _table(
            ["export", "largest difference of a logit", "labels that agree", "tolerance", "patches"],
            [_parity_row(parity) for parity in parities],
        ),
        *(f"### {title}\n\n{text.strip()}\n" for title, text in uses.items()),
        "## Limits\n",
        _limits(figures),
        "## Licence\n",
        statement.licence_text + "\n",
    ]
    return "\n".join(parts)


def _plan_lines(plan: Plan) -> Iterator[str]:
    size = "×".join(map(str, plan.patch_size))
    axes = f"1. Axes turned to {plan.orientation}" if plan.orientation != "native" else "1. Axes as stored"
    held = "voxels that are not 0 in at least one channel"
    yield f"{axes}; cut to the box around all {held}." if plan.crop_to_nonzero else f"{axes}."
    for number, (name, kind, intensity) in enumerate(
        zip(plan.channel_names, plan.normalization, plan.intensity, strict=True)
    ):
        how = _NORMALIZATIONS[kind].format(**(intensity.to_dict() if intensity else {}))
        if plan.masked_normalization and kind not in ("ct", "none"):
            how = how.removesuffix(" over all voxels")
            how += f" over all voxels within the mask ({held}, and what they enclose); 0 outside"
        yield f"2. Channel {number}, {name}: {how}."
    yield (
        f"3. Resampled to {edges_text(plan.spacing_mm)}, linearly."
        if plan.unit == "mm"
        else "3. Pixels as they are, of any size."
    )
    yield (
        f"4. Tiles of {size} voxels that overlap by half, blended by a Gaussian (σ = 1/8 of the tile); the network "
        f"gives one logit a {'region' if plan.regions else 'class'}."
    )
    yield f"5. Logits brought back to the image's own grid linearly; {_decision(plan)}."


def _decision(plan: Plan) -> str:
    """How labels or objects come of the scores."""
    usual = Separation()
    grown = (
        f"objects start where the height is above {usual.seed_threshold:g} and grow downhill (watershed) as far as the "
        f"probability of the foreground is above {usual.mask_threshold:g}, unless thresholds were tuned"
    )
    if plan.instances is None:
        return (
            "each region is where its logit is above 0, and later ones overwrite earlier ones: "
            f"{_listed(list(plan.regions))}"
            if plan.regions
            else "the largest is the label"
        )
    if plan.regions:
        return (
            "the sigmoid of the first is the probability of the foreground, the mean of all sigmoids the height (how "
            f"near to the middle of its object a voxel is); {grown}"
        )
    return (
        f"of their softmax, inside and rim add up to the foreground, and inside alone is the height; {grown}"
    )


def _task(plan: Plan) -> str:
    if plan.instances is not None:
        return f"Tells single objects ({plan.instances.name}) apart"
    return f"Segments {_listed(list(plan.label_names.values())[1:])}"


def _labels(plan: Plan) -> str:
    names = _table(["value", "name"], [[str(k), name] for k, name in plan.label_names.items()])
    if plan.instances is None:
        return names
    outputs = list(plan.regions) or list(plan.label_names.values())
    return (
        "Masks of `medconv predict` hold one number an object, from 1, and 0 for the background. The network itself "
        f"was taught these labels, made from such maps; its outputs are {_listed(outputs)}.\n\n{names}"
    )


def _figures(figures: Mapping[str, Any], plan: Plan) -> str:
    if not figures:
        return "None: no table.json lay beside the checkpoint.\n"
    finest_mm = (
        min(plan.spacing_mm) if plan.unit == "mm" else nan
    )  # without a pixel size no figure has a length
    parts = [_object_figures(figures["objects"])] if "objects" in figures else []
    return "\n".join([*parts, *([_structure_figures(figures, finest_mm)] if "summary" in figures else [])])


def _object_figures(summary: Mapping[str, Any]) -> str:
    scores = ("ap_50", "ap_75", "pq", "aji")
    rows = [
        [title, *(_number(summary.get(f"{over}_{score}"), 3) for score in scores)]
        for title, over in (("mean over images", "mean"), ("pooled over objects", "pooled"))
    ]
    counts = (
        f"{summary.get('ref_objects', '?')} objects in {summary.get('n_images', '?')} images that training kept aside; "
        f"at an IoU of 0.5 {summary.get('missed', '?')} were missed and {summary.get('invented', '?')} invented."
    )
    head = ["single objects", *(INSTANCE_SCORES[score].title for score in scores)]
    return f"{counts} AP = TP / (TP + FP + FN).\n\n{_table(head, rows)}"


def _structure_figures(figures: Mapping[str, Any], finest_mm: float) -> str:
    summary, unit = figures["summary"], shown_unit(finest_mm)
    rows = [
        [
            str(row.get("name")),
            _number(row.get("mean_dice"), 3),
            _number(row.get("mean_nsd"), 3),
            _number(row.get("mean_hd95_mm"), 2, factor_in("hd95_mm", unit)),
            f"{row.get('n_missed', '–')} of {row.get('n', '–')}",
        ]
        for row in summary.get("labels", [])
    ]
    tolerances = ", ".join(
        f"{name} {length_in(mm, unit)}" for name, mm in figures["tolerances_mm"].items() if mm is not None
    )
    return (
        f"Means over the {summary.get('n_cases', '?')} cases that training kept aside, measured by medconv.\n\n"
        + _table(["structure", "Dice", "NSD", f"HD95 ({unit})", "missed"], rows)
        + f"\nTolerances of NSD: {tolerances or 'none'}. {summary.get('convention', '')}.\n"
    )


def _data(config: Mapping[str, Any]) -> str:
    data = config.get("data")
    if not isinstance(data, Mapping):
        return "The checkpoint does not say what it was trained on.\n"
    options = {**(data.get("init_args") or {})}
    # a folder says nothing to a stranger, and much about a machine
    options = {key: Path(value).name if _is_path(value) else value for key, value in options.items()}
    kept = {key: value for key, value in options.items() if key in ("root", "fold", "folds", "seed", "csv")}
    told = ", ".join(f"{key} {value}" for key, value in kept.items() if value is not None)
    return f"`{str(data.get('class_path', '')).rpartition('.')[2]}`" + (f": {told}.\n" if told else ".\n")


def _limits(figures: Mapping[str, Any]) -> str:
    lines = [
        "- A research model and no medical device: it must not decide about a patient.",
        "- It was trained on scans like those named under Data; other scanners, protocols, ages and diseases are "
        "untested.",
        "- A structure outside the list above is labelled as background or as the structure that it resembles.",
    ]
    if not figures:
        lines.append("- Nothing is known of its accuracy: measure it on cases of your own before you use it.")
    return "\n".join(lines) + "\n"


def _parity_row(parity: Parity) -> list[str]:
    shapes = ", ".join("×".join(map(str, shape)) for shape in parity.shapes)
    agreement = f"{100 * parity.label_agreement:.4g} %"
    return [parity.target, f"{parity.max_abs_difference:.2g}", agreement, f"{parity.tolerance:g}", shapes]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [list(head), ["---"] * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells) + "\n"
    )


def _number(value: Any, digits: int, factor: float = 1.0) -> str:
    return f"{value * factor:.{digits}f}" if isinstance(value, int | float) else "–"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value)
