"""Reports of objects and of membranes, as a browser and a reader without eyes meet them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from html_reader import CHROMIUM, Reader, browse

from medconv.metrics import InstanceTable, MembraneTable, measure_instances, measure_membrane
from medconv.reporting import (
    ReportNotes,
    draw_instance_errors,
    format_instance_summary,
    write_instance_report,
)
from medconv.reporting.instance_drawing import png_bytes
from medconv.reporting.membrane_report import format_membrane_summary, write_membrane_report

REF = np.kron(np.array([[1, 0, 2], [0, 0, 0], [3, 0, 4]]), np.ones((6, 6), int))


def objects() -> InstanceTable:
    preds = {
        "a<b": REF,
        "half": np.where(REF < 3, REF, 0),
        "none": REF * 0,
        "split": REF * 10 + np.arange(18) % 2 * (REF == 1),
    }
    rows = [measure_instances(name, pred, REF) for name, pred in preds.items()]
    return InstanceTable([*rows, measure_instances("nothing", REF * 0, REF * 0)])


def membrane() -> MembraneTable:
    ref = (np.arange(20)[:, None] == 9) * np.ones((20, 20), np.uint8)
    shares = {
        f"s{n}": np.clip(ref * 0.6 + np.random.default_rng(n).random(ref.shape) * 0.3, 0, 1) for n in range(4)
    }
    return MembraneTable(row for name, share in shares.items() for row in measure_membrane(name, share, ref))


def notes(pictures: dict[str, bytes]) -> ReportNotes:
    return ReportNotes(pictures=pictures, problems={"x<y": "a & b"})


def pages(folder: Path) -> list[Path]:
    picture = png_bytes(draw_instance_errors(REF * 1.0, REF, REF))
    found = write_instance_report(objects(), folder / "o.html", notes({"none": picture}))
    return [found, write_membrane_report(membrane(), folder / "m.html", notes({"s1": picture}))]


def test_pages_are_closed_named_and_fetch_nothing(tmp_path: Path) -> None:
    for path in pages(tmp_path):
        reader, text = Reader(), path.read_text()
        reader.feed(text)
        assert reader.open == []
        assert "http" not in text
        assert "x<y" not in text
        ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
        assert len(set(ids)) == len(ids)
        assert {str(a["href"])[1:] for t, a in reader.tags if t == "a"} <= set(ids)
        assert all(attrs.get("alt") for tag, attrs in reader.tags if tag == "img")
        assert all(attrs.get("aria-label") for tag, attrs in reader.tags if tag == "svg")
        assert sum(tag == "table" for tag, _ in reader.tags) == sum(
            tag == "caption" for tag, _ in reader.tags
        )


def test_small_tables_have_reports_and_words(tmp_path: Path) -> None:
    empty = InstanceTable([measure_instances("nothing", REF * 0, REF * 0)])
    text = write_instance_report(empty, tmp_path / "e.html").read_text()
    assert "1 image · 0 objects" in text
    assert "1 image without objects on either side, in no mean." in format_instance_summary(empty)
    assert format_instance_summary(empty).splitlines()[2].split() == ["mean", "AP", "-", "-"]
    whole = format_instance_summary(objects())
    assert (
        "Objects: 16 in references, 11 predicted; at IoU 0.5 10 found, 6 missed, 1 invented; 1 splits, 0 merges."
        in whole
    )
    walls = np.ones((5, 5), np.uint8)
    alone = MembraneTable(measure_membrane("a", walls, walls))
    assert "1 image without segments in the reference, in no mean." in format_membrane_summary(alone)
    assert "0 images" not in write_membrane_report(alone, tmp_path / "m.html").read_text()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_them_without_complaint(tmp_path: Path) -> None:
    from matplotlib.image import imread

    for number, path in enumerate(pages(tmp_path)):
        done = browse(path, f"--screenshot={tmp_path}/shot{number}.png", "--window-size=1100,1800")
        assert "CONSOLE" not in done.stderr
        pixels = imread(tmp_path / f"shot{number}.png")[..., :3]
        marks = np.abs(pixels - pixels[2, 2]).max(2) > 0.2
        assert (marks.reshape(9, 200, 1100).sum((1, 2)) > 200).all()
