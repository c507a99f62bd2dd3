from __future__ import annotations

import re
from pathlib import Path

import pytest

from medconv.errors import DatasetError
from medconv.reporting import LevelPanel, LevelPoint, ReportTable, draw_levels, write_level_report
from medconv.reporting.level_panel import ARM_COLOURS, ARM_COLOURS_ON_DARK, value_range
from medconv.reporting.svg import svg_levels

NAN = float("nan")
CURVES = {
    "plain <1>": [LevelPoint(0, 0.9, 0.88, 0.92), LevelPoint(45, 0.5, 0.4, 0.6), LevelPoint(90, NAN)],
    "symmetric": [
        LevelPoint(0, 0.89, 0.87, 0.91),
        LevelPoint(45, 0.88, NAN, NAN),
        LevelPoint(90, 0.89, 0.8, 0.9),
    ],
}
PANEL = LevelPanel(
    "rotation about S", "angle / °", "Dice", CURVES, [LevelPoint(0, 1.0), LevelPoint(45, 0.97)]
)


def test_a_line_a_network_with_its_interval_where_there_is_one() -> None:
    picture = svg_levels(PANEL, *value_range([PANEL]))
    assert picture.count('<path class="line') == 2
    assert picture.count('<polygon class="shade') == 2
    assert picture.count("<circle") == 5  # nan is left out
    assert "<title>plain &lt;1&gt; at 45: 0.5 [0.4, 0.6]</title>" in picture
    assert "<title>symmetric at 45: 0.88</title>" in picture
    assert 'class="ceiling"' in picture
    heights = [float(y) for y in re.findall(r'<circle class="point arm0" cx="[\d.]+" cy="([\d.]+)"', picture)]
    assert heights[0] < heights[1]  # higher on paper is a smaller number


def test_panels_share_their_range() -> None:
    other = LevelPanel("noise", "sd", "Dice", {"plain": [LevelPoint(0, 0.2)]})
    assert value_range([PANEL, other]) == (0.2, 1.0)
    assert value_range([]) == (0.0, 1.0)


def test_a_picture_has_a_panel_a_disturbance_and_one_legend(tmp_path: Path) -> None:
    other = LevelPanel("noise", "sd of the image", "Dice", CURVES)
    picture = draw_levels([PANEL, other], tmp_path / "a.png", title="$x$")
    assert [ax.get_title() for ax in picture.axes] == ["rotation about S", "noise"]
    assert [text.get_text() for text in picture.legends[0].get_texts()] == [
        "plain <1>", "symmetric", "ceiling of interpolation"
    ]  # fmt: skip
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    assert len(draw_levels([PANEL] * 4).axes) == 4
    with pytest.raises(DatasetError, match="expected at least one disturbance to draw, got none"):
        draw_levels([])


def test_the_page_holds_everything_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    tables = {
        "Overview": ReportTable("What is lost", ["network", "Dice"], [["a <b>", "0.9"]], note="read & think"),
        "All levels": ReportTable("Everything", ["network"], [["a"]], is_folded=True),
    }
    path = write_level_report(
        tmp_path / "r.html", "Robustness <x>", ["today"], {"Dice": [PANEL]}, tables, {"Noise": "seed <0>"},
        {"case_7": "no <volume>"}, 3,
    )  # fmt: skip
    page = path.read_text()
    headings = re.findall(r'<h2 id="[^"]+">([^<]+)</h2>', page)
    assert headings == ["Overview", "Curves: Dice", "All levels", "Conventions"]
    assert "a &lt;b&gt;" in page
    assert "read &amp; think" in page
    assert "no &lt;volume&gt;" in page
    assert "seed &lt;0&gt;" in page
    assert "1 of 4 cases not measured" in page
    assert "<summary>Show 1 rows</summary>" not in page
    assert all(colour in page for colour in (*ARM_COLOURS, *ARM_COLOURS_ON_DARK))
    assert not re.findall(r"<(?!/?(?:a|b|p|h\d|li|ul|td|th|tr|dl|dt|dd|nav|svg|div|html|head|meta|link|body|main|path|text|line|title|style|table|tbody|thead|tfoot|circle|footer|header|section|caption|polygon|summary|details|strong|!doctype)\b)", page)  # fmt: skip  # noqa: E501
