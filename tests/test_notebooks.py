"""Every notebook runs from top to bottom, as a newcomer runs it after `make demo`, and carries no outputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS][:2] == ["01_load_a_checkpoint", "02_train_in_python"]


@every_notebook
def test_it_is_valid_and_carries_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not [cell.source for cell in code if cell.outputs or cell.execution_count]


@every_notebook
def test_its_code_is_as_tidy_as_the_package(path: Path) -> None:
    for words in (["check", "--extend-ignore=D,T20"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, path], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def gradient_checkpoint(demo_run: Path) -> Path:
    """A checkpoint whose operators are gradient-weighted."""
    fit = [sys.executable, "-m", "medconv", "fit", "--config", "unet_gradient", "--config", "debug"]
    subprocess.run(fit, cwd=demo_run, check=True, capture_output=True)
    return demo_run / "runs/unet_gradient/best.ckpt"


def execute(path: Path, folder: Path) -> str:
    """Run a notebook as if it lay in ``folder``; return what its cells printed."""
    folder.mkdir(exist_ok=True)
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=where).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    return "".join(out.text for out in outputs if out.output_type == "stream")


@pytest.mark.slow
@every_notebook
def test_it_runs_beside_what_make_demo_leaves(
    path: Path, demo_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDCONV_CHECKPOINT", raising=False)
    assert "SymmetricConv" in execute(path, demo_run / "notebooks")


@pytest.mark.slow
def test_the_first_takes_any_checkpoint(
    demo_run: Path, gradient_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDCONV_CHECKPOINT", str(gradient_checkpoint))
    printed = execute(NOTEBOOKS[0], demo_run / "notebooks")
    assert "encoder.blocks.0.units.0.conv: exponent" in printed
