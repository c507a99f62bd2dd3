"""`medconv robustness` as a user types it: files, exit codes, messages."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from tiny_checkpoint import SPEC, save_checkpoint, tiny_plan

from medconv.cli.main import main
from medconv.cli.robustness import _parse
from medconv.metrics import CaseTable

SYMMETRIC = {"class_path": "UNet", "init_args": SPEC["init_args"] | {"conv": {"class_path": "SymmetricConv"}}}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return (
        save_checkpoint(folder / "mixed/best.ckpt", seed=1),
        save_checkpoint(folder / "symmetric/best.ckpt", spec=SYMMETRIC, seed=1),
    )


@pytest.mark.parametrize(
    "words", [["dice", "hd95_mm"], ["dice,hd95_mm"], ["[dice, hd95_mm]"], ["dice,", "hd95_mm"]]
)
def test_scores_are_named_in_words_or_as_a_list(words: list[str]) -> None:
    assert _parse(["a.ckpt", "data", "--scores", *words]).scores == ["dice", "hd95_mm"]


def robustness(*words: object) -> int:
    return main(["robustness", *map(str, words), "--device", "cpu"])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_two_networks_side_by_side(
    checkpoints: tuple[Path, Path], tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    disturbances = ["--rotate", 0, 45, 90, "--noise", 0.5]
    assert robustness(*checkpoints, tiny_dataset, *disturbances, "--limit", 2, "-o", out) == 0
    seen = capsys.readouterr()
    assert "2 of 2 case(s) examined" in seen.err
    assert f"written  {out}/report.html" in seen.out
    files = {"robustness.csv", "cases.csv", "agreement.csv", "comparison.csv", "robustness.json"}
    assert {path.name for path in out.iterdir()} == files | {"robustness.png", "report.html"}
    curves = rows(out / "robustness.csv")
    levels = {
        (r["series"], float(r["level"])) for r in curves if r["arm"] == "symmetric" and r["label"] == "0"
    }
    assert levels == {("rotate S", 0), ("rotate S", 45), ("rotate S", 90), ("noise", 0), ("noise", 0.5)}  # fmt: skip
    plain = json.loads((out / "robustness.json").read_text())
    assert len(plain["curves"]) == len(curves)
    assert {c["other"] for c in plain["comparison"]} == {"symmetric"}
    assert "cubic" in plain["conventions"]["Rotation"]
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http-equiv", "")
    assert (out / "robustness.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.slow
def test_the_neutral_level_is_what_predict_and_evaluate_say(
    checkpoints: tuple[Path, Path], tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks, measured, out = (tmp_path / name for name in ("masks", "measured", "out"))
    images = tiny_dataset / "imagesTr"
    assert main(["predict", str(checkpoints[0]), "-i", str(images), "-o", str(masks), "--device", "cpu"]) == 0
    assert main(["evaluate", str(masks), str(tiny_dataset), "-o", str(measured)]) == 0
    scores = ["--scores", "[dice, hd95_mm]"]
    assert robustness(checkpoints[0], tiny_dataset, "--contrast", 0.5, *scores, "-o", out) == 0
    capsys.readouterr()
    table = CaseTable.from_csv(measured / "table.csv")
    upright = [r for r in rows(out / "cases.csv") if not r["series"]]
    assert len(upright) == len(table.rows) == 8
    for mine, theirs in zip(upright, table.rows, strict=True):
        assert (mine["case_id"], mine["name"]) == (theirs.case_id, theirs.name)
        assert (float(mine["dice"]), float(mine["hd95_mm"])) == (theirs.dice, theirs.hd95_mm)
    (mean,) = [
        r for r in rows(out / "robustness.csv")
        if (r["level"], r["label"], r["score"]) == ("1", "0", "hd95_mm")
    ]  # fmt: skip
    assert float(mean["mean"]) == table.summary().class_first["hd95_mm"]


@pytest.mark.slow
def test_folders_of_images_and_labels_and_a_case_that_fails(
    checkpoints: tuple[Path, Path], tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    shutil.copytree(tiny_dataset / "imagesTr", images)
    shutil.copytree(tiny_dataset / "labelsTr", labels)
    (images / "tiny_001.nii.gz").write_bytes(b"no volume")
    (images / "tiny_003.nii.gz").unlink()
    words = [
        checkpoints[1],
        images,
        "--labels",
        labels,
        "--gamma",
        0.7,
        "--names",
        "sym",
        "-o",
        tmp_path / "out",
    ]
    assert robustness(*words) == 1
    seen = capsys.readouterr()
    assert "failed: tiny_001: " in seen.err
    assert "failed: tiny_003: no image of this name" in seen.err
    assert "2 of 4 case(s) examined" in seen.err
    assert {r["arm"] for r in rows(tmp_path / "out/robustness.csv")} == {"sym"}
    not_examined = json.loads((tmp_path / "out/robustness.json").read_text())["not_examined"]
    assert set(not_examined) == {"tiny_001", "tiny_003"}
    assert "2 of 4 cases not measured" in (tmp_path / "out/report.html").read_text()


@pytest.mark.slow
def test_cases_that_a_network_was_trained_on_are_left_out(
    checkpoints: tuple[Path, Path], tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(checkpoints[0], run / "best.ckpt")
    names = [f"tiny_{n:03d}" for n in range(4)]
    split = {"train": names[:3], "val": names[3:]}
    (run / "splits_final.json").write_text(json.dumps([split]))
    words = [run / "best.ckpt", tiny_dataset, "--contrast", 0.5, "-o", tmp_path / "out"]
    assert robustness(*words) == 0
    assert "3 of 4 cases trained a checkpoint and are left out; --all-cases" in capsys.readouterr().err
    assert {r["case_id"] for r in rows(tmp_path / "out/cases.csv")} == {"tiny_003"}
    assert robustness(*words, "--all-cases") == 0
    assert {r["case_id"] for r in rows(tmp_path / "out/cases.csv")} == set(names)
    capsys.readouterr()
    (run / "splits_final.json").write_text(json.dumps([{"train": [*names], "val": ["other"]}]))
    assert robustness(*words) == 0  # the division of another dataset says nothing about this one
    assert "left out" not in capsys.readouterr().err
    (run / "splits_final.json").write_text(json.dumps([{"train": names, "val": names[:1]}]))
    assert robustness(*words) == 2
    assert "every case trained a checkpoint; give cases that no network has seen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{ckpt}", "{data}", "--rotat", "4"], "no option or argument '--rotat'; did you mean '--rotate'?"),
        (
            ["{ckpt}", "{data}", "--noise", "much"],
            "for example --noise 0.5 1, behind the checkpoints and the data",
        ),
        (
            ["--rotate", "{ckpt}", "{data}"],
            "for example --rotate 0 45 90, behind the checkpoints and the data",
        ),
        (["{ckpt}", "{data}", "--limit", "0"], "--limit: expected 1 case or more, got 0"),
        (
            ["{ckpt}", "{data}", "--names", "a", "b"],
            "--names: expected 1 name(s), one a checkpoint, got a, b",
        ),
        (["{ckpt}", "{ckpt}", "{data}"], "expected different checkpoints, got one twice"),
        (["nowhere.ckpt", "{data}"], "no file nowhere.ckpt; expected a checkpoint"),
        (["{ckpt}", "nowhere"], "no dataset nowhere; relative paths start at"),
        (["{ckpt}", "{data}", "--postprocessing", "a", "b"], "--postprocessing: expected 1 file, got 2"),
    ],
)
def test_wrong_words_stop_before_anything_is_read(
    words: list[str],
    message: str,
    tiny_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"never read")
    known = {"ckpt": tmp_path / "a.ckpt", "data": tiny_dataset}
    assert robustness(*(word.format(**known) for word in words), "-o", tmp_path / "out") == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{ckpt}", "{data}", "--noise", "-1"], "noise: expected levels from 0, got -1"),
        (["{ckpt}", "{data}", "--rotate", "45", "--about", "up"], "expected an axis R, A or S"),
        (["{ckpt}", "{data}", "--scores", "dise"], "no score 'dise'; did you mean 'dice'?"),
        (["{ckpt}", "{other}", "{data}"], "expected networks for the same label names"),
        (
            ["{other}", "{data}"],
            "of the networks, the dataset declares {{0: 'background', 1: 'head', 2: 'tail'}}",
        ),
        (["{ckpt}", "{data}/imagesTr", "--labels", "{empty}"], "files or DICOM series in the folder"),
        (
            ["{ckpt}", "{data}/imagesTr", "--labels", "{strange}"],
            "expected images and label maps of the same names",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(
    words: list[str],
    message: str,
    checkpoints: tuple[Path, Path],
    tiny_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = tiny_plan(label_names={0: "background", 1: "cell", 2: "wall"})
    known = {"ckpt": checkpoints[0], "data": tiny_dataset, "other": tmp_path / "other.ckpt"}
    if "{other}" in words:
        save_checkpoint(known["other"], plan=plan)
    known |= {"empty": tmp_path / "empty", "strange": tmp_path / "strange"}
    for name in ("empty", "strange"):
        known[name].mkdir()
    shutil.copy(tiny_dataset / "labelsTr/tiny_000.nii.gz", tmp_path / "strange/stranger.nii.gz")
    assert robustness(*(word.format(**known) for word in words), "-o", tmp_path / "out") == 2
    assert message.format() in " ".join(capsys.readouterr().err.split())
