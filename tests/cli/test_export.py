from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import disturb_weights, save_checkpoint

from medconv.cli.main import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt")


def export(*words: object) -> int:
    return main(["export", *map(str, words)])


def test_the_parity_and_the_files_are_told(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(checkpoint, "--to", "safetensors", "-o", tmp_path / "out", "--name", "Mine") == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"safetensors  logits differ by at most \S+ \(within 0\.001\), labels agree in 100 %", first
    )
    names = ["README.md", "model.json", "model.safetensors", "parity.json"]
    assert [line.strip() for line in rest] == [str(tmp_path / "out" / name) for name in names]
    assert (tmp_path / "out/README.md").read_text().startswith("# Mine\n")


def test_outside_the_tolerance_the_code_is_1(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    disturb_weights(monkeypatch)
    assert export(checkpoint, "--to", "safetensors", "-o", tmp_path / "out", "--tolerance", 1e-4) == 1
    seen = capsys.readouterr()
    assert "OUTSIDE 0.0001" in seen.out
    assert seen.err == (
        f"medconv export: outside the tolerance; nothing but {tmp_path}/out/parity.json was kept\n"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["parity.json"]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["{ckpt}", "-o", "{out}"], 2, "missing, but required: --to"),
        (["{ckpt}", "--to", "onnx"], 2, "missing, but required: -o/--output"),
        (
            ["--to", "onnx", "{ckpt}", "-o", "{out}"],
            2,
            "got none. --to takes every word up to the next option",
        ),
        (["{ckpt}", "--to", "onx", "-o", "{out}"], 2, "did you mean 'onnx'?"),
        (["nowhere.ckpt", "--to", "onnx", "-o", "{out}"], 2, "no file nowhere.ckpt; expected a checkpoint"),
        (["{ckpt}", "--to", "torch", "-o", "{used}"], 2, "replace it with --overwrite"),
        (["{ckpt}", "--to", "torch", "-o", "{used}", "--overwrite"], 2, "holds no earlier export"),
        (["{ckpt}", "--to", "torch", "-o", "{out}", "--license", "MIT"], 2, "did you mean '--licence'?"),
        (
            ["{ckpt}", "--to", "torch", "-o", "{out}", "--tolerance", "small"],
            2,
            "--tolerance: expected float",
        ),
        (["{ckpt}", "--to", "torch", "-o", "{ckpt}/out"], 2, "-o: "),
        (["{broken}", "--to", "torch", "-o", "{out}"], 1, "truncated at 500 bytes"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    checkpoint: Path,
    tmp_path: Path,
    words: list[str],
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    used, broken = tmp_path / "used", tmp_path / "broken.ckpt"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    broken.write_bytes(checkpoint.read_bytes()[:500])
    places = {"ckpt": checkpoint, "out": tmp_path / "out", "used": used, "broken": broken}
    assert export(*(word.format(**places) for word in words)) == code
    err = capsys.readouterr().err
    assert text in err
    assert err.startswith("medconv export: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert (used / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_every_target_works_alone_as_its_card_says(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["export", checkpoint, "--to", "torch", "onnx", "--to", "bundle", "safetensors", "-o", out]
    done = subprocess.run(
        [sys.executable, "-m", "medconv", *map(str, words)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "inputs       any batch, sizes in multiples of" in done.stdout
    report = {entry["target"]: entry for entry in json.loads((out / "parity.json").read_text())["exports"]}
    assert set(report) == {"torch", "onnx", "bundle", "safetensors"}
    assert all(entry["is_within"] for entry in report.values())
    assert len(report["onnx"]["shapes"]) == 2
    # the lines of the card, in a folder of their own
    card = (out / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", card, flags=re.S)
    assert len(blocks) == 3
    rng = np.random.default_rng(0)
    np.save(tmp_path / "patches.npy", rng.normal(size=(1, 1, 12, 12, 8)).astype(np.float32))
    lines = [
        "import numpy",
        f"patches = numpy.load({str(tmp_path / 'patches.npy')!r})",
        blocks[0],
        "import torch",
        "own = network(torch.from_numpy(patches)).detach().numpy()",
        blocks[1],
        "assert abs(own - logits).max() < 1e-3",
    ]
    subprocess.run([sys.executable, "-W", "ignore", "-c", "\n".join(lines)], cwd=out, check=True, timeout=120)
