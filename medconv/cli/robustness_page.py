"""A robustness study in words and tables: what the screen, the picture and the page show."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from medconv import __version__
from medconv.metrics import Interval
from medconv.metrics.scores import known_score
from medconv.metrics.table_intervals import OVERALL
from medconv.reporting import LevelPanel, LevelPoint, ReportTable, format_table
from medconv.study import (
    KINDS,
    AgreementPoint,
    Arm,
    CurvePoint,
    Examination,
    LevelComparison,
    Robustness,
    agreement_points,
    curve_points,
)

_HEAD = ["network", "disturbance", "level"]


def format_curves(found: Robustness, scores: Sequence[str]) -> str:
    """The mean over structures of every network, series and level, as text."""
    agreements = {(a.arm, a.series, a.level): a for a in agreement_points(found)}
    rows = []
    for point in curve_points(found, scores):
        if point.label == OVERALL:
            own = agreements.get((point.arm, point.series, point.level))
            rows.append([*_row(point), _number(own.dice.mean, 4) if own else "-"])
    head = [*_HEAD, "score", "mean [95 %]", "change [95 %]", "ceiling", "Dice to upright"]
    return format_table(rows, head)


def level_panels(
    found: Robustness, points: Sequence[CurvePoint], score: str, examination: Examination
) -> list[LevelPanel]:
    """A plot for each series: one score, meaned over structures."""
    panels = []
    for series, conditions in found.series.items():
        own = [p for p in points if (p.series, p.score, p.label) == (series, score, OVERALL)]
        curves = {arm: [LevelPoint(p.level, *_limits(p)) for p in own if p.arm == arm] for arm in found.arms}
        first = [p for p in own if p.arm == found.arms[0] and not isnan(p.ceiling)]
        kind, axis = KINDS[conditions[0].kind], conditions[0].axis
        unit = {"blur": found.unit, "noise": _noise_unit(examination)}.get(kind.name, kind.unit)
        axis = f"axis {axis}" if axis.isdecimal() else axis
        across = f"angle about {axis} / °" if axis else f"{kind.title} / {unit}"
        title = f"{kind.title} about {axis}" if axis else kind.title.partition(",")[0]
        ceiling = [LevelPoint(p.level, p.ceiling) for p in first]
        if ceiling:  # as it is, the reference is itself
            upright = LevelPoint(kind.neutral, known_score(score).best)
            ceiling = sorted([upright, *ceiling], key=lambda point: point.level)
        panels.append(LevelPanel(title, across, known_score(score).title, curves, ceiling))
    return panels


def _noise_unit(examination: Examination) -> str:
    return KINDS["noise"].unit if examination.noise_unit == "sd" else "unit of the image"


def _limits(point: CurvePoint) -> tuple[float, float, float]:
    found = point.score_interval
    return found.mean, found.low, found.high


def report_tables(
    found: Robustness,
    points: Sequence[CurvePoint],
    agreements: Sequence[AgreementPoint],
    comparisons: Sequence[LevelComparison],
) -> dict[str, ReportTable]:
    """The tables of the page, by the heading of their section."""
    tables = {"Overview": _overview(found, points)}
    if comparisons:
        tables["Comparison"] = _comparison(found, comparisons)
    tables["Agreement"] = _agreement(agreements)
    head = ["network", "disturbance", "level", "structure", "score", "mean", "change", "ceiling"]
    rows = [[*_row(p)[:3], p.name, *_row(p)[3:]] for p in points]
    caption = "Every structure at every level; brackets: 95 % intervals"
    tables["All levels"] = ReportTable(caption, head, rows, text_columns=2, is_folded=True)
    return tables


def _overview(found: Robustness, points: Sequence[CurvePoint]) -> ReportTable:
    """A line a network and series: the image as it is, and the level at which least is left."""
    rows = []
    for score in dict.fromkeys(p.score for p in points):
        for series in found.series:
            for arm in found.arms:
                own = [
                    p for p in points if (p.score, p.series, p.arm, p.label) == (score, series, arm, OVERALL)
                ]
                neutral = KINDS[series.split()[0]].neutral
                upright = next(p for p in own if p.level == neutral)
                known = [p for p in own if not isnan(p.score_interval.mean)] or own
                choose = min if known_score(score).higher_is_better else max
                worst = choose(known, key=lambda p: p.score_interval.mean)
                cells = [series, arm, known_score(score).title, _interval(upright.score_interval, score)]
                cells += [f"{worst.level:g}", _interval(worst.score_interval, score), _change(worst, score)]
                rows.append([*cells, _number(worst.ceiling, known_score(score).digits)])
    head = ["disturbance", "network", "score", "as it is", "worst at", "there", "change", "ceiling there"]
    return ReportTable(
        "What each network loses; brackets: 95 % intervals over cases",
        head,
        rows,
        text_columns=3,
        note="Change: difference to the same case as it is. Ceiling: the reference turned there and back against "
        "itself.",
    )


def _comparison(found: Robustness, comparisons: Sequence[LevelComparison]) -> ReportTable:
    head = ["other", "disturbance", "level", "score", "question", "difference [95 %]", "p", "verdict"]
    rows = []
    for c in comparisons:
        digits = known_score(c.score).digits
        low, middle, high = (
            f"{v:+.{digits}f}" for v in (c.paired.low, c.paired.mean_difference, c.paired.high)
        )
        series, level = (c.series, f"{c.level:g}") if c.series else ("as it is", "")
        cells = [c.other, series, level, known_score(c.score).title, c.quantity, f"{middle} [{low}, {high}]"]
        rows.append([*cells, _number(c.p_permutation_holm, 4), c.verdict])
    return ReportTable(
        f"Against {found.arms[0]}, case by case: other minus baseline",
        head,
        rows,
        text_columns=2,
        note="score: which network is better there; change: which has moved further from its own score on the image as "
        "it is. p: paired permutation test of the mean, after Holm over all lines.",
    )


def _agreement(agreements: Sequence[AgreementPoint]) -> ReportTable:
    has_objects = any(not isnan(a.objects_pq.mean) for a in agreements)
    rows = []
    for a in agreements:
        cells = [a.series, a.arm, f"{a.level:g}", f"{a.equal_share.mean:.5f}", _number(a.dice.mean, 4)]
        cells += [_number(a.objects_pq.mean, 4)] if has_objects else []
        rows.append([*cells, *_differences(a)])
    head = ["disturbance", "network", "level", "equal voxels", "Dice between both"]
    head += ["PQ between the objects of both"] if has_objects else []
    return ReportTable(
        "f(disturbed x) beside f(x), means over cases",
        [*head, "largest difference of probabilities", "of the network alone"],
        rows,
        text_columns=2,
        note="Turned images: f(turned x) beside turned f(x), inside the image. Differences of probabilities are given "
        "where voxels are only permuted (multiples of 90°). A symmetric network has none but rounding; what tiles and "
        "margins add is left out of the last column, which counts the cases whose tiles turn with the image: square in "
        "the plane, and lying alike from both ends of it.",
    )


def _differences(point: AgreementPoint) -> list[str]:
    if isnan(point.probability_difference):
        return ["–", "–"]
    if not point.n_network:
        return [f"{point.probability_difference:.1e}", "no such case"]
    alone = f"{point.network_difference:.1e} ({point.n_network} cases)"
    return [f"{point.probability_difference:.1e}", alone]


def conventions(
    found: Robustness, examination: Examination, arms: Sequence[Arm], data: str
) -> dict[str, str]:
    """How the figures were made, by what was settled."""
    lines = {
        "Networks": "; ".join(f"{arm.name}: {arm.predictor.setting}" for arm in arms),
        "Cases": f"{len(found.case_ids)}: {', '.join(found.case_ids)}",
        "Undisturbed": f"the figures of medconv evaluate on these cases; {found.table(found.arms[0]).convention}",
    }
    kinds = {condition.kind for condition in found.conditions}
    if "rotate" in kinds:
        lines |= {
            "Rotation": "about the named axis, by the right hand; multiples of 90° permute voxels, other angles use a "
            f"grid that holds the whole image ({examination.interpolation} interpolation clipped to the range of "
            f"the image; around it: {examination.outside}); only what lies in the image is measured",
            "Reference": "turned alike, each voxel the label of the largest bilinear share",
        }
    if "noise" in kinds:
        unit = "standard deviation of the image" if examination.noise_unit == "sd" else "unit of the image"
        lines["Gaussian noise"] = (
            f"level times the {unit}, seed {examination.seed}; the same for every network"
        )
    if "shot" in kinds:
        lines["Shot noise"] = (
            f"Poisson counts, 1 / level² of them at the bright end (99.5th percentile), seed {examination.seed}"
        )
    if found.unit != "mm":
        lines["Lengths"] = (
            f"in {found.unit}: where nobody knows how large a pixel is, nothing is measured in mm"
        )
    if kinds & {"contrast", "gamma"}:
        names = sorted({kind for arm in arms for kind in arm.predictor.plan.normalization})
        lines["Contrast, gamma"] = (
            f"clipped to the range of the image; the networks scale intensities by {', '.join(names)}, and a z-score "
            "undoes every factor below 1"
        )
    return lines | {"Interval": "95 %, percentile bootstrap over cases", "medconv": __version__, "Data": data}


# ---------------------------------------------------------------- words


def _row(point: CurvePoint) -> list[str]:
    score, series = point.score, point.series
    return [
        point.arm,
        series,
        f"{point.level:g}",
        known_score(score).title,
        _interval(point.score_interval, score),
        _change(point, score),
        _number(point.ceiling, known_score(score).digits),
    ]


def _interval(found: Interval, score: str) -> str:
    digits = known_score(score).digits
    limits = "" if isnan(found.low) else f" [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return _number(found.mean, digits) + limits


def _change(point: CurvePoint, score: str) -> str:
    found, digits = point.change, known_score(score).digits
    if isnan(found.mean):
        return "-"
    limits = "" if isnan(found.low) else f" [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
    return f"{found.mean:+.{digits}f}{limits}"


def _number(value: float, digits: int) -> str:
    return "-" if isnan(value) else f"{value:.{digits}f}"
