"""The pieces of a report: tables, numbers and intervals as HTML."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from math import isnan

from medconv.lengths import ShownUnit
from medconv.metrics import Interval, known_score
from medconv.metrics.length_unit import factor_in


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    foot: Sequence[Sequence[str]] = (),
    text_columns: int = 1,
) -> str:
    """A table with a caption, that scrolls by itself where the page is narrow.

    Args:
        head: Titles of the columns.
        rows: Text, escaped here.
        caption: What the table shows.
        foot: Rows below, such as means.
        text_columns: So many columns from the left hold text, the others numbers.
    """

    def line(cells: Sequence[str]) -> str:
        first = f'<th scope="row">{escape(cells[0])}</th>'
        rest = (
            f'<td class="text">{escape(c)}</td>' if n < text_columns else f"<td>{escape(c)}</td>"
            for n, c in enumerate(cells[1:], start=1)
        )
        return f"<tr>{first}{''.join(rest)}</tr>"

    titles = "".join(
        f'<th scope="col" class="text">{escape(t)}</th>'
        if n < text_columns
        else f'<th scope="col">{escape(t)}</th>'
        for n, t in enumerate(head)
    )
    tail = f"<tfoot>{''.join(map(line, foot))}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead>"
        f"<tbody>{''.join(map(line, rows))}</tbody>{tail}</table></div>"
    )


def plot(picture: str) -> str:
    """An SVG that scrolls by itself where the page is so narrow that its letters would become too small."""
    return f'<div class="plot">{picture}</div>'


def shown_value(value: float, name: str, unit: ShownUnit = "mm") -> str:
    """A score with the digits it deserves; a dash where there is none."""
    return "–" if isnan(value) else f"{value * factor_in(name, unit):.{min(known_score(name).digits, 3)}f}"


def shown_limits(found: Interval, name: str, unit: ShownUnit = "mm") -> str:
    """The interval in brackets; nothing where there is none."""
    if isnan(found.low):
        return ""
    return f"[{shown_value(found.low, name, unit)}, {shown_value(found.high, name, unit)}]"


def counted(number: int, what: str) -> str:
    """A number and its word, in the singular for one.

    Example:
        >>> counted(1, "case"), counted(12, "case")
        ('1 case', '12 cases')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def extent(done: int, failed: int, what: str) -> str:
    """How much was measured, and of how much where some was not.

    Example:
        >>> extent(3, 0, "case"), extent(3, 1, "case")
        ('3 cases', '3 of 4 cases')
    """
    return f"{done} of {counted(done + failed, what)}" if failed else counted(done, what)


def card(name: str, value: str, remark: str) -> str:
    """A figure that matters, large, with what it is above and a remark below."""
    below = f'<dd class="small">{remark}</dd>' if remark else ""
    return f'<div class="card"><dt>{name}</dt><dd class="big">{value}</dd>{below}</div>'


def figure(case: str, picture: bytes, told: str, what: str) -> str:
    """A picture of a case with its caption; all text is escaped here.

    Args:
        case: Its name.
        picture: PNG.
        told: The caption.
        what: What the picture shows, for who cannot see it; the name of the case follows.
    """
    source = base64.b64encode(picture).decode()
    alt = escape(f"{what} {case}. {told}", quote=True)
    return (
        f'<figure><img src="data:image/png;base64,{source}" alt="{alt}" loading="lazy">'
        f"<figcaption><strong>{escape(case)}</strong> · {escape(told)}</figcaption></figure>"
    )


def facts_table(lines: Mapping[str, str], caption: str) -> str:
    """Names and sentences below each other."""
    rows = "".join(
        f'<tr><th scope="row">{k}</th><td class="text wrap">{escape(v)}</td></tr>' for k, v in lines.items()
    )
    return f'<div class="scroll"><table><caption>{caption}</caption><tbody>{rows}</tbody></table></div>'
