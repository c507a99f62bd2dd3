"""The viewer as one HTML page: volumes, NiiVue, style and controls in a single file that fetches nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from medconv import __version__
from medconv.lengths import shown_unit
from medconv.reporting.vendor import niivue_licences, niivue_packed
from medconv.reporting.viewer_nifti import in_16_bits, nifti_bytes
from medconv.reporting.viewer_volumes import Layer, Study

_PERCENTILES = (0.5, 99.5)
_SAMPLE = 1_000_000
_OPACITY = 0.5

# Okabe and Ito's colours, as everywhere in the reports, and then the colour wheel by the golden angle
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)

# what a page may load: only what is inside it
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'"
)

_KEYS = {
    "← →": "left and right",
    "↑ ↓": "front and back",
    "Page ↑ ↓": "up and down",
    "m": "masks on or off",
    "o": "outlines or areas",
    "+ −": "opacity",
    "v": "next layout",
    "r": "reset window and zoom",
}
_MOUSE = {"drag": "move the crosshair", "right drag": "window", "wheel": "slices"}


def page_html(study: Study, title: str) -> str:
    """The page as text.

    Args:
        study: What it shows.
        title: Its heading.
    """
    text = {
        name: (files("medconv.reporting") / name).read_text("utf-8") for name in ("viewer.css", "viewer.js")
    }
    stored, slope, intercept = in_16_bits(study.image)
    blocks = {
        "niivue": niivue_packed(),
        "image": nifti_bytes(stored, study.affine, slope, intercept),
        **{f"layer-{n}": nifti_bytes(layer.ranks, study.affine) for n, layer in enumerate(study.layers)},
    }
    carried = "".join(
        f'<script type="text/plain" id="{name}">{base64.b64encode(content).decode()}</script>\n'
        for name, content in blocks.items()
    )
    notes = "".join(f'<span class="soft">{escape(note)}</span>' for note in study.notes)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{text['viewer.css']}</style></head>\n<body>"
        f"<header><h1>{escape(title)}</h1>{notes}</header>\n"
        '<main id="view"><canvas id="canvas" tabindex="0" aria-label="Slices and surface; the arrow keys move '
        'the crosshair"></canvas><p id="message" role="status">Unpacking …</p></main>\n'
        f"<aside>{_controls(study)}</aside>\n"
        '<footer id="place" aria-live="off"></footer>\n'
        f'<script type="application/json" id="study">{_facts(study)}</script>\n{carried}'
        f"<script>{text['viewer.js']}</script></body></html>\n"
    )


def colours_of(layer: Layer) -> list[tuple[int, int, int]]:
    """Red, green and blue of each label, by its value: the same structure has the same colour in every mask."""
    return [_colour(label) for label in layer.labels]


def _colour(label: int) -> tuple[int, int, int]:
    if label <= len(_COLOURS):
        return _COLOURS[label - 1]
    angle = 2 * np.pi * ((label * 0.381966) % 1 + np.array([0, 1 / 3, 2 / 3]))
    red, green, blue = (int(value) for value in 150 + 100 * np.cos(angle))
    return red, green, blue


def _facts(study: Study) -> str:
    facts = {
        "window": _window(study),
        "start_mm": _start_mm(study),
        "length": _length(study),
        "opacity": _OPACITY,
        "layers": [
            {"name": layer.name, "labels": layer.labels, "names": layer.names, "colours": colours_of(layer)}
            for layer in study.layers
        ],
    }
    # "</script>" in a name would end the block
    return json.dumps(facts).replace("<", "\\u003c")


def _window(study: Study) -> list[float]:
    """Intensities shown as black and white: all but the outermost of a sample of the voxels."""
    voxels = study.image.ravel()[:: max(1, study.image.size // _SAMPLE)]
    low, high = (float(value) for value in np.percentile(voxels, _PERCENTILES))
    if low == high:
        low, high = float(study.image.min()), float(study.image.max())
    return [float(f"{low:.5g}"), float(f"{high if high > low else low + 1:.5g}")]


def _length(study: Study) -> dict[str, Any]:
    """What places are told in, and how many of it are one unit of the affine."""
    if study.unit == "px":
        return {"unit": "px", "per_unit": 1}
    unit = shown_unit(float(np.linalg.norm(study.affine[:3, :3], axis=0).min()))
    return {"unit": unit, "per_unit": 1000 if unit == "µm" else 1}


def _start_mm(study: Study) -> list[float]:
    """Where the crosshair begins: amid the labels of the first mask that has any, else in the centre."""
    voxel = (np.array(study.image.shape) - 1) / 2
    for layer in study.layers:
        if layer.labels:
            labelled = np.argwhere(layer.ranks)
            middle = np.median(labelled, axis=0)
            voxel = labelled[np.abs(labelled - middle).sum(axis=1).argmin()]
            break
    return [float(mm) for mm in (study.affine @ [*np.rint(voxel), 1])[:3]]


def _controls(study: Study) -> str:
    window = _window(study)
    is_flat = study.image.shape[2] == 1
    views = [(0, "axial")] if is_flat else [(3, "three planes and 3-D"), (0, "axial"), (1, "coronal")]
    views += [] if is_flat else [(2, "sagittal"), (4, "3-D")]
    options = "".join(f'<option value="{value}">{name}</option>' for value, name in views)
    step = f"{(window[1] - window[0]) / 100:.2g}"
    number = 'type="number" step="{}" value="{:g}"'
    parts = [
        f'<label>Layout <select id="layout">{options}</select></label>',
        f'<label>Window <input id="low" aria-label="Window, lower end" {number.format(step, window[0])}>'
        f'<input id="high" aria-label="Window, upper end" {number.format(step, window[1])}></label>',
        '<label><input type="checkbox" id="radiological" checked> patient\'s right on the left</label>',
    ]
    if study.layers:
        parts += [
            f'<label>Opacity <input type="range" id="opacity" min="0" max="1" step="0.05" value="{_OPACITY}"></label>',
            '<label><input type="checkbox" id="outline"> outlines only</label>',
        ]
    parts += [_layer_controls(layer, number) for number, layer in enumerate(study.layers)]
    parts.append('<p><button id="reset" type="button">Reset</button></p>')
    keys = [
        ("kbd", _KEYS if study.layers else {k: v for k, v in _KEYS.items() if k not in ("m", "o", "+ −")})
    ]
    rows = "".join(
        f"<dt><{t}>{k}</{t}></dt><dd>{v}</dd>" for t, own in [*keys, ("span", _MOUSE)] for k, v in own.items()
    )
    parts.append(f"<details open><summary>Keys and mouse</summary><dl>{rows}</dl></details>")
    licences = escape(niivue_licences())
    parts.append(
        f'<details><summary>About</summary><p class="soft">Made by medconv {__version__}; shown by NiiVue. Not for '
        f"diagnosis.</p><pre>{licences}</pre></details>"
    )
    return "".join(parts)


def _layer_controls(layer: Layer, number: int) -> str:
    rows: Sequence[Any] = list(zip(layer.labels, layer.names, layer.sizes, colours_of(layer), strict=True))
    lines = "".join(
        f'<label><input type="checkbox" checked data-layer="{number}" data-place="{place}">'
        f'<span class="swatch" style="background:rgb{colour}"></span><span class="name">{escape(name)}</span>'
        f'<span class="soft" title="label {label}">{size}</span></label>'
        for place, (label, name, size, colour) in enumerate(rows)
    )
    return (
        f'<fieldset><legend><label><input type="checkbox" id="on-{number}" checked data-layer="{number}"> '
        f"{escape(layer.name)}</label></legend>{lines or '<span class=soft>no labels</span>'}</fieldset>"
    )
