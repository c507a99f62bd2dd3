from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import two_ellipsoids

from medconv.cli.main import main

NiftiFactory = Callable[..., Path]


@pytest.fixture
def scan(tiny_nifti: NiftiFactory) -> Path:
    return tiny_nifti("scan.v2.nii.gz")


@pytest.fixture
def mask(tiny_nifti: NiftiFactory) -> Path:
    return tiny_nifti("mask.nii.gz", two_ellipsoids((9, 8, 7), 0.0))


def run(*words: object) -> int:
    return main(["view", *map(str, words)])


def test_a_page_is_written_and_named(
    scan: Path,
    mask: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(scan, mask, "--label-names", "{1: caput, 2: cauda}") == 0
    assert re.fullmatch(r"scan\.html  1\.\d MiB; open it in a browser\n", capsys.readouterr().out)
    text = Path("scan.html").read_text()
    assert "caput" in text
    assert "<h1>scan.v2</h1>" in text


def test_an_image_alone_and_a_coarser_one(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep/page.html"
    assert run(scan, "-o", out, "--max-voxels", 200, "--downsample", "--title", "Mine") == 0
    assert "shown at 5 × 4 × 7 of 9 × 8 × 7 voxels" in capsys.readouterr().out
    text = out.read_text()
    assert "<h1>Mine</h1>" in text
    assert 'id="outline"' not in text


def test_a_page_that_exists_is_replaced_only_if_asked(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    out.write_text("mine")
    assert run(scan, "-o", out) == 2
    assert capsys.readouterr().err == (
        f"medconv view: {out} exists; name another with -o, or replace it with --overwrite\n"
    )
    assert out.read_text() == "mine"
    assert run(scan, "-o", out, "--overwrite") == 0
    assert out.read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["nowhere.nii"], 2, "no file nowhere.nii; expected a volume"),
        (["{scan}", "nowhere.nii"], 2, "no file nowhere.nii; expected a mask"),
        (["{scan}", "-o", "{folder}/page.png"], 2, "-o: expected a file ending in .html"),
        (["{scan}", "-o", "{folder}"], 2, "-o: expected a file ending in .html"),
        (["{scan}", "--chanel", "1"], 2, "did you mean '--channel'?"),
        (["{scan}", "--channel", "1", "-o", "{folder}/a.html"], 2, "expected a channel from 0 to 0, got 1"),
        (["{scan}", "--max-voxels", "9", "-o", "{folder}/a.html"], 2, "9 × 8 × 7 voxels are more than the 9"),
        (["{scan}", "{scan}", "-o", "{folder}/a.html"], 1, "an intensity image is no label map"),
        (
            ["{scan}", "--label-names", "head", "-o", "{folder}/a.html"],
            2,
            "for example --label-names '{1: head",
        ),
        (["{scan}", "-o", "{scan}/a.html"], 2, "-o: "),
        (["{broken}", "-o", "{folder}/a.html"], 1, "copy it again"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    scan: Path, tmp_path: Path, words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(scan.read_bytes()[:60])
    folder = tmp_path / "out"
    folder.mkdir()
    places = {"scan": scan, "folder": folder, "broken": broken}
    assert run(*(word.format(**places) for word in words)) == code
    err = capsys.readouterr().err
    assert text in err
    assert err.startswith("medconv view: ")
    assert err.count("\n") == 1
    assert not list(folder.iterdir())


def test_the_limit_is_that_of_the_viewer() -> None:
    from medconv.cli import view
    from medconv.reporting.viewer_volumes import MAX_VOXELS

    assert f"default={MAX_VOXELS}" in Path(view.__file__).read_text().replace("2**26", str(2**26))
    assert np.prod((512, 512, 256)) == MAX_VOXELS
