"""One fault at a time: each is found, named and weighed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medconv.cli.main import main

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def root(tiny_dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_dataset, tmp_path / "data")
    return tmp_path / "data"


def change(path: Path, how: Change = lambda voxels: voxels, affine: np.ndarray | None = None) -> None:
    """Rewrite a volume with other voxels or another place."""
    scan = nib.load(path)
    voxels = how(np.asarray(scan.dataobj).copy())
    image = nib.Nifti1Image(voxels, scan.affine if affine is None else affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(image.affine, 1)
    nib.save(image, path)


def describe(root: Path, **changes: object) -> None:
    path = root / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def image(root: Path, number: int = 1) -> Path:
    return root / "imagesTr" / f"tiny_{number:03d}.nii.gz"


def label(root: Path, number: int = 1) -> Path:
    return root / "labelsTr" / f"tiny_{number:03d}.nii.gz"


def at(voxels: np.ndarray, value: float) -> np.ndarray:
    voxels[3, 4, 5] = value
    return voxels


def moved(root: Path) -> None:
    affine = nib.load(label(root)).affine.copy()
    affine[0, 3] += 7
    change(label(root), affine=affine)


def stretched(root: Path) -> None:
    scaled = nib.load(image(root)).affine @ np.diag((1, 1, 4, 1))
    change(image(root), affine=scaled)
    change(label(root), affine=scaled)


def copied(root: Path) -> None:
    shutil.copy(image(root, 0), image(root))
    shutil.copy(label(root, 0), label(root))


def relabelled(root: Path) -> None:
    copied(root)
    change(label(root), lambda v: v * (v == 1))


FAULTS: dict[str, tuple[Callable[[Path], None], str, str, str, str]] = {
    "nan": (
        lambda r: change(image(r), lambda v: at(v, np.nan)),
        "error",
        "values",
        "tiny_001",
        "1 NaN and 0 infinite",
    ),
    "inf": (
        lambda r: change(image(r), lambda v: at(v, np.inf)),
        "error",
        "values",
        "tiny_001",
        "0 NaN and 1 infinite",
    ),
    "half a label": (
        lambda r: change(label(r), lambda v: at(v.astype(np.float32), 0.5)),
        *("error", "values", "tiny_001", "expected whole label values, got 1 voxels that are not"),
    ),
    "undeclared": (
        lambda r: change(label(r), lambda v: at(v, 9)),
        *("error", "labels", "tiny_001", r"expected only the labels \[0, 1, 2\], got also 9 \(1 voxels\)"),
    ),
    "moved": (moved, "error", "geometry", "tiny_001", "corners lie up to .* voxels apart"),
    "shape": (
        lambda r: change(label(r), lambda v: v[:-1]),
        *("error", "geometry", "tiny_001", "expected the shape .* got"),
    ),
    "cut off": (
        lambda r: image(r).write_bytes(image(r).read_bytes()[:-300]),
        *("error", "unreadable", "tiny_001", "tiny_001.nii.gz"),
    ),
    "no image at all": (
        lambda r: label(r).write_text("hello"),
        "error",
        "unreadable",
        "tiny_001",
        "labelsTr",
    ),
    "missing": (lambda r: image(r).unlink(), "error", "dataset", "", "case tiny_001: no such file"),
    "channels": (
        lambda r: change(image(r), lambda v: np.stack([v, v], -1)),
        *("error", "channels", "tiny_001", r"expected 1 channel\(s\) \(MRI\) as the dataset declares, got 2"),
    ),
    "absent class": (
        lambda r: describe(r, labels={"0": "background", "1": "head", "2": "tail", "3": "ear"}),
        *("error", "absent", "", "class 3 'ear' occurs in no case"),
    ),
    "copy": (
        copied,
        "error",
        "duplicate",
        "tiny_001",
        "has the same voxels as case tiny_000, the labels too",
    ),
    "copy drawn twice": (
        relabelled,
        "error",
        "duplicate",
        "tiny_001",
        "case tiny_000, but the labels differ",
    ),
    "wrong label": (
        lambda r: (
            (change(label(r, 0), lambda v: v[:, :25]), change(image(r, 0), lambda v: v[:, :25]))
            and shutil.copy(label(r, 0), label(r))
        ),
        *("error", "duplicate", "tiny_001", "has the same label map as case tiny_000, but another image"),
    ),
    "empty": (
        lambda r: change(label(r), np.zeros_like),
        "warning",
        "empty",
        "tiny_001",
        "holds background only",
    ),
    "constant": (
        lambda r: change(image(r), np.ones_like),
        *("warning", "constant", "tiny_001", "channel MRI: every voxel is 1; is this the right file"),
    ),
    "spike": (
        lambda r: change(image(r), lambda v: at(v, 1e6)),
        *("warning", "outlier", "tiny_001", "voxels from .* to 1e\\+06, while 99 % lie"),
    ),
    "stretched": (
        stretched,
        "warning",
        "spacing",
        "tiny_001",
        "voxels of 0.8 × 0.8 × 10 mm are more than 3 times larger",
    ),
}


def found(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, str]]]:
    code = main(["check", str(root), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["cases"] <= 4
    for severity in ("error", "warning", "remark"):
        assert report[severity] == sum(p["severity"] == severity for p in report["problems"])
    return code, report["problems"]


def test_a_good_dataset_has_nothing_but_remarks(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, problems = found(root, capsys)
    assert code == 0
    assert {problem["severity"] for problem in problems} <= {"remark"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_named_and_weighed(
    name: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, severity, kind, case, text = FAULTS[name]
    spoil(root)
    code, problems = found(root, capsys)
    assert code == int(severity == "error")
    (seen,) = [p for p in problems if (p["kind"], p["case_id"]) == (kind, case)]
    assert seen["severity"] == severity
    assert re.search(text, seen["text"])


def test_all_of_a_case_is_told_and_so_are_all_cases(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(image(root), lambda v: at(v, np.nan))
    change(label(root), lambda v: at(v, 7))
    image(root, 2).unlink()
    change(label(root, 3), np.zeros_like)
    assert main(["check", str(root), "-o", str(root.parent / "list.json")]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in shown[:4]] == [
        ["error", "dataset"],
        ["error", "labels"],
        ["error", "values"],
        ["warning", "empty"],
    ]
    assert shown[-1].startswith("3 case(s) read: 3 error(s), ")
    assert json.loads((root.parent / "list.json").read_text())["error"] == 3


def test_copies_in_one_group_are_a_warning(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied(root)
    table = root / "cases.csv"
    table.write_text(
        "image,label,group\n"
        + "".join(f"imagesTr/tiny_{n:03d}.nii.gz,labelsTr/tiny_{n:03d}.nii.gz,p{n // 2}\n" for n in range(4))
    )
    table.with_suffix(".json").write_text(
        json.dumps({"channel_names": {"0": "MRI"}, "labels": {"background": 0, "head": 1, "tail": 2}})
    )
    code, problems = found(table, capsys)
    assert code == 0
    assert [p["severity"] for p in problems if p["kind"] == "duplicate"] == ["warning"]


def test_cases_that_nobody_labelled_are_no_copies_of_each_other(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(root, labels={"background": 0, "head": 1, "tail": 2, "ignore": 3})
    for number in (0, 1):
        change(image(root, number), lambda v: v[:, :25])
        change(label(root, number), lambda v: np.full_like(v[:, :25], 3))
    code, problems = found(root, capsys)
    told = [(p["case_id"], p["severity"], p["text"]) for p in problems if p["kind"] in ("duplicate", "empty")]
    text = "the label map holds only background and unlabelled voxels; is that so, or was it never drawn?"
    assert told == [(f"tiny_{number:03d}", "warning", text) for number in (0, 1)]
    assert code == 0


def test_a_case_of_another_unit_stands_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = json.loads((root / "dataset.json").read_text())["training"]
    for number in range(4, 10):
        for folder in ("imagesTr", "labelsTr"):
            shutil.copy(root / folder / "tiny_000.nii.gz", root / folder / f"tiny_{number:03d}.nii.gz")
        change(image(root, number), lambda v, n=number: v * (1 + n / 20))
        pairs.append({k: f"./{k}sTr/tiny_{number:03d}.nii.gz" for k in ("image", "label")})
    change(image(root, 2), lambda v: v * 1000)
    describe(root, training=pairs)
    main(["check", str(root), "--json"])
    problems = json.loads(capsys.readouterr().out)["problems"]
    (outlier,) = [p for p in problems if p["kind"] == "outlier"]
    assert (outlier["case_id"], outlier["severity"]) == ("tiny_002", "warning")
    assert "times larger than the median case's; another unit or modality?" in outlier["text"]


def test_a_case_smaller_than_a_patch_is_a_remark(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (image(root), label(root)):
        change(path, lambda v: v[:, 4:20])
    _, problems = found(root, capsys)
    (remark,) = [p for p in problems if p["kind"] == "patch"]
    assert "of 4 cases are smaller along an axis than a patch of 24×24×12" in remark["text"]
    assert "the smallest is tiny_001, 24×16×12" in remark["text"]


def test_the_order_and_number_of_threads_change_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(image(root), lambda v: at(v, np.nan))
    shown = []
    for threads in ("1", "3"):
        main(["check", str(root), "--threads", threads])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 2, "no file or folder nowhere; expected a dataset: "),
        (["DATA/imagesTr"], 2, "imagesTr: expected a dataset: a folder with a dataset.json"),
        (["DATA", "--threads", "-1"], 2, "--threads: expected 0 or more, got -1"),
        (["DATA", "-o", "DATA"], 2, "-o: expected a file to write, .* is a folder"),
        (["DATA", "--jsn"], 2, "no option or argument '--jsn'; did you mean '--json'"),
        ([], 2, "dataset"),
    ],
)
def test_what_cannot_be_checked(
    root: Path, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *(word.replace("DATA", str(root)) for word in words)]) == code
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.slow
def test_real_volumes_of_two_units_are_told_apart(
    real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(real_data / "hippocampus"), "--json"]) == 0
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert sum(p["kind"] == "outlier" for p in problems) == 24
