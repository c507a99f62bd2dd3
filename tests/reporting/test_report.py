from __future__ import annotations

import base64
import re
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from conftest import save_nifti, two_ellipsoids
from html_reader import CHROMIUM, Reader, browse

from medconv.evaluation import Pair
from medconv.metrics import CaseRow, CaseTable, table_intervals
from medconv.reporting import ReportNotes, draw_pairs, worst_first, write_report
from medconv.reporting.report_page import page_html
from medconv.reporting.svg import Point, nice_ticks, svg_scatter, svg_spread

ROW = CaseRow(
    "a", 1, "head", 0.8, 4.0, 1.5, False, False, 2.0, 2.1, 50.0, nsd=0.9, spacing_mm=(1.0, 1.0, 2.0)
)
PNG = b"\x89PNG rest"


def table(cases: int = 12) -> CaseTable:
    rng = np.random.default_rng(0)
    rows = []
    for c in range(cases):
        for label, name in ((1, "head"), (2, '<tail> & "co"')):
            spacing = (1.0, 1.0, 1.0 + c % 3)
            own = {"case_id": f"case_{c:02}", "label": label, "name": name, "spacing_mm": spacing}
            rows.append(replace(ROW, dice=float(rng.beta(9, 2)), ref_volume_ml=float(rng.gamma(3)), **own))
    rows[3] = replace(rows[3], dice=0.0, hd95_mm=inf, hd_mm=inf, pred_empty=True)
    rows[4] = replace(rows[4], dice=0.0, hd95_mm=inf, hd_mm=inf, ref_empty=True, ref_volume_ml=0.0)
    rows[6] = replace(rows[6], dice=nan, nsd=nan, hd95_mm=nan, hd_mm=nan, ref_empty=True, pred_empty=True)
    return CaseTable(rows)


def page(tmp_path: Path, **settings: object) -> str:
    return write_report(table(), tmp_path / "report.html", ReportNotes(**settings)).read_text()  # type: ignore[arg-type]


def test_every_tag_is_closed_and_nothing_is_fetched(tmp_path: Path) -> None:
    text = page(tmp_path, pictures={"case_01": PNG}, problems={"x<y": "a & b"})
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    addresses = [v for _, attrs in reader.tags for k, v in attrs.items() if k in ("src", "href")]
    assert all(str(address).startswith(("#", "data:")) for address in addresses)
    assert "http" not in text
    assert "<script" not in text


def test_it_can_be_read_without_eyes_and_without_mouse(tmp_path: Path) -> None:
    reader = Reader()
    reader.feed(page(tmp_path, pictures={"case_01": PNG}))
    tags = reader.tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert {str(a["href"])[1:] for t, a in tags if t == "a"} <= set(ids)
    assert all(attrs.get("alt") for tag, attrs in tags if tag == "img")
    assert all(attrs.get("aria-label") for tag, attrs in tags if tag == "svg")
    assert all(attrs.get("scope") for tag, attrs in tags if tag == "th")
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags)
    assert [attrs.get("lang") for tag, attrs in tags if tag == "html"] == ["en"]
    assert sum(tag == "h1" for tag, _ in tags) == 1


def test_the_numbers_are_those_of_the_table(tmp_path: Path) -> None:
    text = page(tmp_path)
    found = table_intervals(table())[0, "dice"]
    assert f'<dd class="big">{found.mean:.3f}</dd>' in text
    assert f"[{found.low:.3f}, {found.high:.3f}]" in text
    listed = re.findall(
        r"<tr><th scope=\"row\">(case_\d+)</th><td class=\"text\">[^<]+</td><td class=\"text\">(\w+)<", text
    )
    assert listed == [("case_01", "missed"), ("case_02", "invented")]
    assert "diagonal as distance" in text
    assert "image edge counted" in text
    assert "1 of 13 cases not measured" in page(tmp_path, problems={"x": "y"})
    assert "not measured" not in text


def test_what_was_not_measured_is_folded_up_by_reason(tmp_path: Path) -> None:
    problems = dict.fromkeys(("x", "y", "z"), "no prediction of this name") | {"q": "damaged"}
    text = page(tmp_path, problems=problems, about=["2026-01-01", "predictions: <a>"], warning="all empty")
    assert "12 of 16 cases · head" in text
    assert "2026-01-01 · predictions: &lt;a&gt;" in text
    assert "<details><summary>no prediction of this name: 3 cases</summary><p>x, y, z</p></details>" in text
    assert "a reason of its own: 1 case</summary>" in text
    assert '<p class="bad">All empty</p>' in text


def test_one_case_is_no_plural_and_has_no_interval(tmp_path: Path) -> None:
    text = write_report(CaseTable([replace(ROW, nsd_tolerance_mm=2.0)]), tmp_path / "r.html").read_text()
    assert '<p class="soft">1 case · head</p>' in text
    assert "Show 1 row<" in text
    assert "95 % interval" not in text
    assert "95 %:" not in text
    assert "share of both surfaces within 2 mm of each other" in text


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    text = page(tmp_path, problems={"<b>": "<script>alert(1)</script>"}, title="<i>")
    assert "<tail>" not in text
    assert "&lt;tail&gt; &amp; &quot;co&quot;" in text
    assert "<script" not in text
    assert "<i>" not in text


def test_pictures_stand_in_the_order_of_the_scores(tmp_path: Path) -> None:
    order = worst_first(table())
    text = page(tmp_path, pictures=dict.fromkeys(reversed(order[:4]), PNG))
    assert re.findall(r"<figcaption><strong>(case_\d+)", text) == order[:4]
    assert text.count(base64.b64encode(PNG).decode()) == 4


def test_the_worst_case_is_the_one_with_the_lowest_mean() -> None:
    rows = [replace(ROW, case_id=c, dice=d) for c, d in (("good", 0.9), ("bad", 0.1), ("mid", 0.5))]
    nothing = replace(ROW, case_id="empty", dice=nan, ref_empty=True, pred_empty=True)
    assert worst_first(CaseTable([*rows, nothing])) == ["bad", "mid", "good", "empty"]


def test_small_and_strange_tables_have_a_report(tmp_path: Path) -> None:
    nothing = replace(ROW, dice=nan, nsd=nan, hd95_mm=nan, hd_mm=nan, ref_empty=True, pred_empty=True)
    flat = replace(ROW, ref_volume_ml=nan, pred_volume_ml=nan, spacing_mm=(0.5, 0.5))
    for rows in ([ROW], [nothing], [flat], [replace(ROW, label=-1)]):
        reader = Reader()
        reader.feed(write_report(CaseTable(rows), tmp_path / "r.html").read_text())
        assert reader.open == []


def test_the_same_table_gives_the_same_file(tmp_path: Path) -> None:
    assert page(tmp_path) == page(tmp_path)


def test_pairs_are_drawn_with_and_without_an_image(tmp_path: Path) -> None:
    labels = two_ellipsoids((12, 12, 6), 0.0)
    mask = save_nifti(tmp_path / "mask.nii.gz", labels, np.eye(4))
    image = save_nifti(tmp_path / "image.nii.gz", labels.astype(np.float32), np.eye(4))
    other = save_nifti(tmp_path / "other.nii.gz", labels[:-1].astype(np.float32), np.eye(4))
    slice_ = save_nifti(tmp_path / "slice.nii.gz", labels[:, :, 3:4], np.eye(4))
    pairs = [Pair("with", mask, mask, image), Pair("without", mask, mask), Pair("other", mask, mask, other)]
    drawn = draw_pairs([*pairs, Pair("flat", slice_, slice_)], {1: "head"})
    assert all(png.startswith(b"\x89PNG") for png in drawn.values())
    assert drawn["with"] != drawn["without"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.83, 0.87), (3, 3), (-2, 1500), (0, 0)])
def test_ticks_are_round_and_enclose(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 2 <= len(ticks) <= 9


def test_every_dot_lies_on_the_paper() -> None:
    points = [Point("a", -3.0, 7.0), Point("b", 12.0, 7.5), Point("c", inf, 1.0)]
    for picture in (svg_spread({"x": points}, "mm"), svg_scatter(points, "x", "y")):
        places = re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', picture)
        assert len(places) == 2
        _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', picture)[1].split())  # type: ignore[index]
        assert all(0 < float(x) < width and 0 < float(y) < height for x, y in places)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_without_complaint(scheme: str, tmp_path: Path) -> None:
    from matplotlib.image import imread

    report = write_report(table(), tmp_path / "report.html")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    done = browse(report, *dark, f"--screenshot={tmp_path}/shot.png", "--window-size=1100,2400")
    assert "CONSOLE" not in done.stderr
    pixels = imread(tmp_path / "shot.png")[..., :3]
    assert pixels.shape[:2] == (2400, 1100)
    assert (pixels[2, 2].mean() < 0.2) == (scheme == "dark")
    # headline, plots and tables leave their marks all the way down the page
    marks = np.abs(pixels - pixels[2, 2]).max(2) > 0.2
    assert (marks.reshape(12, 200, 1100).sum((1, 2)) > 200).all()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_page_that_is_faulty_makes_the_browser_complain(tmp_path: Path) -> None:
    """Without which the test above could not fail."""
    report = write_report(table(), tmp_path / "report.html")
    report.write_text(report.read_text().replace("</main>", '</main><script>throw Error("no")</script>'))
    assert "CONSOLE" in browse(report, f"--screenshot={tmp_path}/shot.png").stderr


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pieces", ["scroll", "plot"])
def test_what_scrolls_shows_it_at_the_edge_that_hides_something(
    pieces: str, scheme: str, tmp_path: Path
) -> None:
    from matplotlib.image import imread

    def edges(width: int) -> list[float]:
        """How far from the sheet's colour: left edge, middle and right edge of the container."""
        content = f'<div style="width: {width}px; height: 200px"></div>'
        text = page_html("Wide", (), {"Table": f'<div class="{pieces}">{content}</div>'})
        (tmp_path / "page.html").write_text(text.replace("<header>", "<header hidden>"))
        dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
        browse(tmp_path / "page.html", *dark, f"--screenshot={tmp_path}/shot.png", "--window-size=500,400")
        line = imread(tmp_path / "shot.png")[200, :, :3]
        return [float(np.abs(line[x] - line[5]).max()) for x in (22, 250, 478)]

    left, middle, right = edges(1200)
    assert left < 0.02
    assert middle < 0.02
    assert right > 0.08
    assert max(edges(100)) < 0.02
