"""One case under every condition, while it is in memory: how well each network does, and whether it says the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import ConfigError, DatasetError
from medconv.inference.volumes import to_volume
from medconv.io import Case, Volume, reader_for, require_same_grid
from medconv.metrics import InstanceRow
from medconv.planning import Plan
from medconv.study.agreement import Agreement
from medconv.study.answer import Answer, Arm, ask
from medconv.study.body_axes import turning_plane
from medconv.study.conditions import UPRIGHT, Condition
from medconv.study.disturb import NoiseUnit, disturb
from medconv.study.even_tiles import do_tiles_turn
from medconv.study.measures import Measure, Row
from medconv.study.rotation import ORDERS, Outside, Rotation
from medconv.types import LengthUnit

Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class Examination:
    """What is done to every case.

    Args:
        conditions: What it is subjected to; the image as it is always comes first.
        measure: What is measured.
        seed: Of the noise.
        noise_unit: See ``disturb``.
        interpolation: ``"cubic"`` or ``"linear"``: grey values of turned images.
        outside: What lies around turned images; see ``Rotation``.

    Raises:
        ConfigError: Another interpolation.
    """

    conditions: tuple[Condition, ...]
    measure: Measure
    seed: int = 0
    noise_unit: NoiseUnit = "sd"
    interpolation: str = "cubic"
    outside: Outside = "reflect"

    def __post_init__(self) -> None:
        if self.interpolation not in ORDERS:
            raise ConfigError(f"expected an interpolation of {', '.join(ORDERS)}, got {self.interpolation!r}")


@dataclass(frozen=True)
class Finding:
    """What came of one case under one condition.

    Args:
        condition: Which one.
        arm: Name of the network; empty for the reference itself, turned there and back: the ceiling.
        rows: What was measured, a row a structure.
        agreement: With what the network says of the image as it is.
        unit: What lengths of the image are counted in.
    """

    condition: Condition
    arm: str
    rows: tuple[Row, ...]
    agreement: Agreement | None = None
    unit: LengthUnit = "mm"


@dataclass(frozen=True, eq=False)
class _View:
    """A case under a condition: image and reference on one grid, and how to get there from the upright one."""

    condition: Condition
    image: Volume
    reference: Labels
    rotation: Rotation | None = None

    def turned(self, labels: Labels) -> Labels:
        """A label map of the upright image as it lies here."""
        return labels if self.rotation is None else self.rotation.labels(labels)

    @property
    def inside(self) -> npt.NDArray[np.bool_] | None:
        """What is image; ``None``: everything."""
        return None if self.rotation is None or self.rotation.is_exact else self.rotation.inside()


def examine_case(case: Case, arms: Sequence[Arm], examination: Examination) -> Iterator[Finding]:
    """Every finding of a case; the image is read once, disturbed once a condition, and shown to every network.

    A turned image is predicted on a grid that holds all of it, and measured against the equally turned reference;
    what lies outside of the image is not measured. Distances of structures on one side only count with the
    diagonal of the upright image, so that a larger grid makes no miss worse.

    Args:
        case: With a label.
        arms: Networks of plans with the same labels and channels.
        examination: What is done.

    Raises:
        BadImageError: A file cannot be read.
        GeometryError: Image and label lie on different grids.
        DatasetError: The case has no label, or one with values that have no name.
        ConfigError: An axis that a slice cannot be turned about.
    """
    plan = arms[0].predictor.plan
    image, reference = read_case(case, plan)
    exact = any(c.kind == "rotate" and c.level % 90 == 0 for c in examination.conditions)
    upright = {arm.name: ask(arm, image, probabilities=exact) for arm in arms}
    measure = _Measured(case.case_id, plan.ignore_label, examination)
    whole = _View(UPRIGHT, image, reference)
    for name, answer in upright.items():
        yield Finding(UPRIGHT, name, measure(answer.labels, whole), unit=image.geometry.unit)
    for condition in examination.conditions:
        view = _view(case.case_id, image, reference, condition, examination)
        if view.rotation is not None:
            yield Finding(condition, "", measure(view.rotation.undo_labels(view.reference), whole))
        is_exact = view.rotation is not None and view.rotation.is_exact
        for arm in arms:
            answer = ask(arm, view.image, probabilities=is_exact)
            found = _agreement(upright[arm.name], answer, view, examination.measure)
            if is_exact:
                found = replace(found, do_tiles_turn=_do_tiles_turn(arm, image, view))
            yield Finding(condition, arm.name, measure(answer.labels, view), found)


def read_case(case: Case, plan: Plan) -> tuple[Volume, Labels]:
    """The image of a case, and its labels ``(*S)`` on the same grid.

    Raises:
        See ``examine_case``.
    """
    if case.label is None:
        raise DatasetError(f"case {case.case_id}: expected a label map to measure by, got none")
    image = to_volume(list(case.images), plan.in_channels, layout=case.layout)
    reader = reader_for(case.label, case.layout.of_labels())
    label = reader.read_labels(case.label, allowed=plan.declared.allowed, like=image)
    require_same_grid(image, label)
    return image, label.data[0]


class _Measured:
    """Rows of predictions of one case, under any view."""

    def __init__(self, case_id: str, ignored: int | None, what: Examination) -> None:
        self._case_id, self._ignored, self._measure = case_id, ignored, what.measure
        self._diagonal_mm: float | None = None

    def __call__(self, labels: Labels, view: _View) -> tuple[Row, ...]:
        reference, spacing, inside = view.reference, view.image.geometry.spacing_mm, view.inside
        if self._ignored is not None:
            labels = np.where(labels == self._ignored, 0, labels)  # of a reference that was turned back
        if inside is not None:
            labels, reference = labels * inside, reference * inside
        if reference.shape[-1] == 1:  # a slice is an image of two axes
            labels, reference, spacing = labels[..., 0], reference[..., 0], spacing[:2]
        known = None if view.image.geometry.unit == "px" else spacing
        return tuple(map(self._upright, self._measure.rows(self._case_id, labels, reference, known)))

    def _upright(self, row: Row) -> Row:
        if isinstance(row, InstanceRow):
            return row
        if self._diagonal_mm is None:
            self._diagonal_mm = row.diagonal_mm  # the upright image comes first
        return replace(row, diagonal_mm=self._diagonal_mm)


def _view(case_id: str, image: Volume, reference: Labels, condition: Condition, what: Examination) -> _View:
    if condition.kind != "rotate":
        disturbed = disturb(image, condition, case_id, what.seed, what.noise_unit)
        return _View(condition, disturbed, reference)
    plane = turning_plane(condition.axis, image.geometry, image.shape, image.name)
    rotation = Rotation(image.shape, image.geometry, plane, condition.level)
    turned = rotation.image(image.data, ORDERS[what.interpolation], what.outside)
    volume = replace(image, data=turned, geometry=rotation.new_geometry)
    return _View(condition, volume, rotation.labels(reference), rotation)


def _do_tiles_turn(arm: Arm, image: Volume, view: _View) -> bool:
    assert view.rotation is not None
    quarters = round(view.rotation.angle_deg / 90)
    return do_tiles_turn(arm.predictor, image, view.rotation.plane, quarters)


def _agreement(upright: Answer, answer: Answer, view: _View, measure: Measure) -> Agreement:
    difference = nan
    if view.rotation is not None and answer.probabilities is not None and upright.probabilities is not None:
        turned = view.rotation.image(upright.probabilities)
        difference = float(np.abs(answer.probabilities - turned).max())
    turned_labels = view.turned(upright.labels)
    options = {"inside": view.inside, "probability_difference": difference}
    return measure.agreement(answer.labels, turned_labels, **options)
