"""The page of every report: heading, links to its sections, the sections, nothing from a network."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from html import escape

import numpy
import scipy

from medconv import __version__
from medconv.reporting.report_style import STYLE


def page_html(title: str, told: Sequence[str], sections: Mapping[str, str], style: str = "") -> str:
    """One self-contained page.

    Args:
        title: Heading; escaped here.
        told: What stands below it, such as how many cases, a date, names of folders; escaped here.
        sections: Name to HTML, in their order.
        style: Rules of this report beside the common ones.
    """
    ids = {name: name.lower().replace(" ", "-") for name in sections}
    links = "".join(f'<li><a href="#{ids[name]}">{name}</a></li>' for name in sections)
    body = "".join(
        f'<section aria-labelledby="{ids[name]}"><h2 id="{ids[name]}">{name}</h2>{text}</section>'
        for name, text in sections.items()
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}{style}</style></head>\n<body>'
        '<a class="skip" href="#content">To the content</a>'
        f'<header><h1>{escape(title)}</h1><p class="soft">{escape(" · ".join(told))}</p>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n<main id="content">{body}</main>'
        f'<footer><p class="soft">medconv {__version__}</p></footer></body></html>\n'
    )


def versions() -> str:
    """Of everything that figures depend on."""
    return (
        f"medconv {__version__}, NumPy {numpy.__version__}, SciPy {scipy.__version__}, "
        f"Python {platform.python_version()}"
    )
