"""What an image is subjected to: kinds of disturbance, their levels, and which level leaves it as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, UnknownNameError
from medconv.io.geometry import NATIVE
from medconv.planning import Plan
from medconv.study.body_axes import axis_name


@dataclass(frozen=True)
class Kind:
    """One kind of disturbance.

    Args:
        name: As it is asked for.
        title: As people write it.
        unit: Of its levels; that of the image's geometry where it is a length.
        neutral: The level that leaves an image as it is.
        levels: Examined unless others are named; none: they follow from the voxels (``default_levels``).
        least: The smallest level there is.
        includes_least: Whether that one is allowed itself.
    """

    name: str
    title: str
    unit: str
    neutral: float
    levels: tuple[float, ...]
    least: float = 0.0
    includes_least: bool = True


KINDS = {
    kind.name: kind
    for kind in (
        Kind("rotate", "rotation", "°", 0, (15, 30, 45, 60, 75, 90), least=-360),
        Kind("noise", "Gaussian noise", "sd of the image", 0, (0.1, 0.2, 0.5, 1)),
        Kind("shot", "shot noise", "share of the bright end", 0, (0.05, 0.1, 0.2, 0.4)),
        Kind("blur", "Gaussian blur, sigma", "mm", 0, ()),
        Kind("contrast", "contrast", "times", 1, (0.25, 0.5, 0.75, 1.5, 2), includes_least=False),
        Kind("gamma", "gamma", "power", 1, (0.5, 0.7, 1.4, 2), includes_least=False),
    )
}
"""Every kind of disturbance, by name."""

_LARGEST = 1e6


@dataclass(frozen=True)
class Condition:
    """A disturbance at one level; ``UPRIGHT`` is none.

    Args:
        kind: Name of one of ``KINDS``; empty where nothing is done.
        level: How much of it.
        axis: What is turned about, for ``"rotate"``: see ``medconv.study.body_axes``.

    Example:
        >>> Condition("rotate", 45, "S").series, Condition("blur", 1.5).words
        ('rotate S', 'blur 1.5')
    """

    kind: str
    level: float
    axis: str = ""

    @property
    def series(self) -> str:
        """What is varied: all conditions of a series differ in their level only."""
        return f"{self.kind} {self.axis}".strip()

    @property
    def words(self) -> str:
        """Series and level, as messages say them."""
        return f"{self.series} {self.level:g}" if self.kind else "as it is"


UPRIGHT = Condition("", 0.0)
"""The image as it is."""


def build_conditions(
    levels: Mapping[str, Sequence[float]], plan: Plan, axes: Sequence[str] = ()
) -> tuple[Condition, ...]:
    """What to examine, without the neutral levels: they are ``UPRIGHT``, which belongs to every series.

    Args:
        levels: Of each kind, by its name; an empty list takes the default ones.
        plan: Of the network, for defaults.
        axes: What to turn about; none: ``default_axis(plan)``.

    Raises:
        UnknownNameError: There is no such kind.
        ConfigError: A level that a kind does not have, an axis of another name, axes without a rotation, or
            nothing at all.

    Example:
        >>> plan = Plan(2, ("grey",), {0: "background", 1: "cell"}, (0.5, 0.5), (64, 64), ("zscore",), "native")
        >>> [condition.words for condition in build_conditions({"rotate": [90, 0], "blur": [1]}, plan)]
        ['rotate 2 90', 'blur 1']
    """
    for name in levels:
        if name not in KINDS:
            raise UnknownNameError(
                f"no disturbance {name!r}{did_you_mean(name, KINDS) or '.'} All: {', '.join(KINDS)}"
            )
    if axes and "rotate" not in levels:
        raise ConfigError(
            f"axes to turn about ({', '.join(axes)}), but no rotation is asked for; add --rotate, or leave them out"
        )
    found = []
    for name, own in levels.items():
        places = [axis_name(axis) for axis in axes or (default_axis(plan),)] if name == "rotate" else [""]
        chosen = sorted(set(_checked(KINDS[name], own or default_levels(KINDS[name], plan))))
        found += [Condition(name, level, place) for place in dict.fromkeys(places) for level in chosen]
    if not found:
        raise ConfigError(
            f"expected one disturbance at least, other than its neutral level; all: {', '.join(KINDS)}"
        )
    return tuple(found)


def default_levels(kind: Kind, plan: Plan) -> tuple[float, ...]:
    """The levels of a kind unless others are named; a blur is measured in the plan's finest voxels.

    Example:
        >>> plan = Plan(3, ("T1",), {0: "background", 1: "x"}, (0.8, 0.8, 3.0), (64, 64, 16), ("zscore",))
        >>> default_levels(KINDS["blur"], plan)
        (0.4, 0.8, 1.6, 3.2)
    """
    finest = min(plan.spacing_mm)
    return kind.levels or tuple(float(f"{share * finest:.3g}") for share in (0.5, 1, 2, 4))


def default_axis(plan: Plan) -> str:
    """The axis that a network is most likely to see turned: through the slices, where voxels are thickest.

    Example:
        >>> plan = Plan(3, ("T1",), {0: "background", 1: "x"}, (3.0, 0.8, 0.8), (16, 64, 64), ("zscore",), "SRA")
        >>> default_axis(plan)
        'S'
    """
    if plan.spatial_dims == 2:
        return "2"
    place = max(range(3), key=lambda axis: (plan.spacing_mm[axis], axis))
    return str(place) if plan.orientation == NATIVE else axis_name(plan.orientation[place])


def _checked(kind: Kind, levels: Sequence[float]) -> list[float]:
    for level in levels:
        is_low = level < kind.least or (level == kind.least and not kind.includes_least)
        if not isfinite(level) or is_low or level > (-kind.least if kind.least < 0 else _LARGEST):
            wanted = {"rotate": "angles from -360 to 360 degrees"}.get(
                kind.name, f"levels {'from' if kind.includes_least else 'above'} {kind.least:g}"
            )
            raise ConfigError(f"{kind.name}: expected {wanted}, got {level:g}")
    return [float(level) for level in levels if level != kind.neutral]
