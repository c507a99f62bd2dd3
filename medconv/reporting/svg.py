"""Three plots as SVG that follow the page's colours: how scores spread, what they go with, how they fall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, isfinite, log10
from statistics import quantiles
from typing import NamedTuple

from medconv.reporting.level_panel import ARM_COLOURS, MOST_MARKED, LevelPanel, LevelPoint, levels_of

_WIDTH, _LEFT, _RIGHT = 820, 150, 20
_ROW, _TOP, _BOTTOM = 46, 8, 40
_UP_LEFT = 70
"""Where a plot with an axis up begins."""


class Point(NamedTuple):
    """A case in a plot.

    Args:
        name: Shown when the pointer rests on it.
        x: Where it lies across.
        y: Where it lies up; in a spread, of no account.
        has_failed: The structure was missed or invented.
    """

    name: str
    x: float
    y: float = 0.0
    has_failed: bool = False


def svg_spread(
    groups: Mapping[str, Sequence[Point]], title: str, low: float | None = None, high: float | None = None
) -> str:
    """A row a group: every case a dot, the middle half a band, the median a line.

    Args:
        groups: Name to cases; what is not finite is left out.
        title: Of the axis, with its unit.
        low: Where the axis begins; ``None`` begins at the smallest value.
        high: Where it ends.

    Example:
        >>> picture = svg_spread({"head": [Point("a", 0.8), Point("b", 0.9)]}, "Dice", 0, 1)
        >>> picture.count("<circle"), "<title>a: 0.8</title>" in picture
        (2, True)
    """
    known = {name: [p for p in points if isfinite(p.x)] for name, points in groups.items()}
    values = [point.x for points in known.values() for point in points]
    ticks = nice_ticks(
        min(values, default=0.0) if low is None else low, max(values, default=1.0) if high is None else high
    )
    height = _TOP + _ROW * len(known) + _BOTTOM
    place = _scale(ticks, _LEFT, _WIDTH - _RIGHT)
    parts = [_opening(height, f"{title}: spread over cases, one row a structure")]
    parts += _x_axis(ticks, place, _TOP, height - _BOTTOM, title)
    for row, (name, points) in enumerate(known.items()):
        middle = _TOP + _ROW * (row + 0.5)
        parts.append(
            f'<text x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(_short(name))}</text>'
        )
        parts += _band([point.x for point in points], place, middle)
        for number, point in enumerate(points):
            # a fixed pattern parts dots of one value, and the same report is drawn twice alike
            y = middle + ((number * 7) % 11 - 5) * 2.4
            parts.append(_dot(point, place(point.x), y, f"{point.x:.4g}"))
    return "".join([*parts, "</svg>"])


def svg_scatter(points: Sequence[Point], x_title: str, y_title: str, height: int = 300) -> str:
    """One dot a case.

    Args:
        points: What is not finite is left out.
        x_title: Of the axis across, with its unit.
        y_title: Of the axis up.
        height: Of the picture, in its own units.

    Example:
        >>> svg_scatter([Point("a", 2.0, 0.8), Point("b", 3.0, float("nan"))], "ml", "Dice").count("<circle")
        1
    """
    known = [point for point in points if isfinite(point.x) and isfinite(point.y)]
    across = nice_ticks(min((p.x for p in known), default=0.0), max((p.x for p in known), default=1.0))
    up = nice_ticks(min((p.y for p in known), default=0.0), max((p.y for p in known), default=1.0))
    x_place = _scale(across, _UP_LEFT, _WIDTH - _RIGHT)
    y_place = _scale(up, height - _BOTTOM, _TOP + 14)
    parts = [_opening(height, f"{y_title} against {x_title}, one dot a case")]
    parts += _x_axis(across, x_place, _TOP + 14, height - _BOTTOM, x_title)
    parts += _y_axis(up, y_place, y_title)
    parts += [_dot(p, x_place(p.x), y_place(p.y), f"{p.y:.4g} at {p.x:.4g}") for p in known]
    return "".join([*parts, "</svg>"])


def svg_levels(panel: LevelPanel, low: float, high: float, height: int = 300) -> str:
    """A line a network, its interval shaded, the ceiling dotted; a point names itself under the pointer.

    Args:
        panel: What is drawn; the classes ``arm0``, ``arm1`` … of the page colour its networks.
        low: Where the axis up begins at the latest.
        high: Where it ends at the earliest.
        height: Of the picture, in its own units.

    Example:
        >>> curve = [LevelPoint(0, 0.9, 0.8, 0.95), LevelPoint(90, 0.6, 0.5, 0.7)]
        >>> picture = svg_levels(LevelPanel("rotation", "angle / °", "Dice", {"plain": curve}), 0, 1)
        >>> picture.count("<circle"), "<title>plain at 90: 0.6 [0.5, 0.7]</title>" in picture
        (2, True)
    """
    levels = levels_of(panel)
    is_marked = 2 <= len(levels) <= MOST_MARKED
    across = levels if is_marked else nice_ticks(min(levels, default=0.0), max(levels, default=1.0))
    up = nice_ticks(low, high)
    top = _TOP + 30
    x_place, y_place = _scale(across, _UP_LEFT, _WIDTH - _RIGHT), _scale(up, height - _BOTTOM, top)
    parts = [_opening(height, f"{panel.y_title} against {panel.x_title}, one line a network")]
    parts += _x_axis(across, x_place, top, height - _BOTTOM, panel.x_title)
    parts += _y_axis(up, y_place, panel.y_title)
    if panel.ceiling:
        parts.append(f'<path class="ceiling" d="{_path(panel.ceiling, x_place, y_place)}"/>')
    left = 160.0
    for number, (name, points) in enumerate(panel.curves.items()):
        kind = f"arm{number % len(ARM_COLOURS)}"
        known = [p for p in points if isfinite(p.mean)]
        parts += _curve(name, known, kind, x_place, y_place)
        parts.append(f'<line class="line {kind}" x1="{left}" x2="{left + 20}" y1="7" y2="7"/>')
        parts.append(f'<text x="{left + 26}" y="11">{escape(_short(name))}</text>')
        left += 44 + 7 * len(_short(name))
    return "".join([*parts, "</svg>"])


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers from at or below ``low`` to at or above ``high``.

    Example:
        >>> nice_ticks(0.0, 1.0), nice_ticks(3.0, 18.0)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 5.0, 10.0, 15.0, 20.0])
        >>> nice_ticks(1.0, 1.0), nice_ticks(0.0, 0.0)
        ([0.8, 1.0], [0.0, 0.2])
    """
    span = high - low or abs(high) or 1.0
    decade = 10.0 ** floor(log10(span / 5))
    step = next(s * decade for s in (1, 2, 5, 10) if span / (s * decade) <= 6)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    if first == last and last > 0:
        first -= 1  # not beyond the value: a score ends at 1
    return [round(step * number, 12) for number in range(first, max(last, first + 1) + 1)]


class _scale:  # noqa: N801 - used as a function
    """Value to place on paper."""

    def __init__(self, ticks: Sequence[float], start: float, end: float) -> None:
        self.low, self.span, self.start, self.length = ticks[0], ticks[-1] - ticks[0], start, end - start

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / self.span * self.length


def _opening(height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label, quote=True)}">'


def _x_axis(ticks: Sequence[float], place: _scale, top: float, bottom: float, title: str) -> list[str]:
    parts = []
    for tick in ticks:
        x = place(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text class="soft" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{tick:g}</text>')
    middle = place.start + place.length / 2
    return [*parts, f'<text x="{middle:.1f}" y="{bottom + 33}" text-anchor="middle">{escape(title)}</text>']


def _y_axis(ticks: Sequence[float], place: _scale, title: str) -> list[str]:
    parts = []
    for tick in ticks:
        y = place(tick)
        parts.append(f'<line class="grid" x1="{_UP_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="soft" x="{_UP_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    return [*parts, f'<text x="4" y="11">{escape(title)}</text>']


def _curve(name: str, points: Sequence[LevelPoint], kind: str, x: _scale, y: _scale) -> list[str]:
    """The interval, the line and the points of a network."""
    known = [p for p in points if isfinite(p.low) and isfinite(p.high)]
    there = [(x(p.level), y(p.high)) for p in known]
    back = [(x(p.level), y(p.low)) for p in reversed(known)]
    outline = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*there, *back])
    parts = [f'<polygon class="shade {kind}" points="{outline}"/>'] if known else []
    parts.append(f'<path class="line {kind}" d="{_path(points, x, y)}"/>')
    for p in points:
        limits = f" [{p.low:.4g}, {p.high:.4g}]" if isfinite(p.low) else ""
        title = escape(f"{name} at {p.level:g}: {p.mean:.4g}{limits}")
        place = f'cx="{x(p.level):.1f}" cy="{y(p.mean):.1f}"'
        parts.append(f'<circle class="point {kind}" {place} r="4"><title>{title}</title></circle>')
    return parts


def _path(points: Sequence[LevelPoint], x: _scale, y: _scale) -> str:
    known = [p for p in points if isfinite(p.mean)]
    return " ".join(f"{'L' if n else 'M'}{x(p.level):.1f} {y(p.mean):.1f}" for n, p in enumerate(known))


def _band(values: Sequence[float], place: _scale, middle: float) -> list[str]:
    if len(values) < 2:
        return []
    low, median, high = (place(v) for v in quantiles(values, n=4, method="inclusive"))
    return [
        f'<rect class="box" x="{low:.1f}" y="{middle - 17:.1f}" width="{max(high - low, 1):.1f}" height="34" rx="3"/>',
        f'<line class="middle" x1="{median:.1f}" x2="{median:.1f}" y1="{middle - 17:.1f}" y2="{middle + 17:.1f}"/>',
    ]


def _dot(point: Point, x: float, y: float, value: str) -> str:
    kind = "dot fail" if point.has_failed else "dot"
    title = escape(f"{point.name}: {value}")
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{title}</title></circle>'


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
