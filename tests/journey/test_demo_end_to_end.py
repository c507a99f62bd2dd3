"""From nothing to masks through the commands, as a newcomer types them."""

from __future__ import annotations

import csv
import json
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.slow

SHORT = [
    "--data.init_args.steps_per_epoch=3",
    "--data.init_args.batch_size=2",
    "--model.network.init_args.channels=[4,8]",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.accelerator=cpu",
]


def medconv(*words: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "medconv", *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("journey")
    done = medconv("fit", "--config", "unet_sym", *SHORT, "--trainer.max_epochs=2", cwd=folder)
    return folder, done.stdout


def test_fit_leaves_everything_in_one_folder_and_nothing_elsewhere(fitted):
    folder, _ = fitted
    run = folder / "runs/unet_sym"
    names = {p.name for p in run.iterdir()}
    assert {
        "best.ckpt",
        "last.ckpt",
        "table.csv",
        "report.html",
        "table.json",
        "summary.json",
        "config.yaml",
        "metrics.csv",
        "overlays",
    } <= names
    assert {p.name for p in folder.iterdir()} == {"runs", "data"}
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (run / "overlays").glob("*.png"))
    assert list((run / "overlays").glob("*.png"))


def test_the_table_has_one_row_a_case_and_class(fitted):
    folder, _ = fitted
    rows = read_table(folder / "runs/unet_sym/table.csv")
    cases = sorted((folder / "data/demo/imagesTs").glob("*.nii.gz"))
    assert len(rows) == len(cases) * 2
    summary = json.loads((folder / "runs/unet_sym/table.json").read_text())["summary"]
    by_class = [[float(r["dice"]) for r in rows if r["name"] == c["name"]] for c in summary["labels"]]
    assert summary["class_first_mean_dice"] == pytest.approx(np.mean([np.mean(v) for v in by_class]))


def test_the_printed_command_predicts_masks_on_the_inputs_own_grids(fitted):
    folder, printed = fitted
    words = shlex.split(printed.strip().splitlines()[-1])
    assert words[1:4] == ["-m", "medconv", "predict"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cpu" in (done.stdout + done.stderr)
    images = sorted((folder / "data/demo/imagesTs").glob("*.nii.gz"))
    for image in images:
        mask = nib.load(folder / "runs/unet_sym/predictions" / image.name)
        source = nib.load(image)
        assert mask.shape == source.shape
        np.testing.assert_allclose(mask.affine, source.affine, atol=1e-5)
        assert mask.get_data_dtype() == np.uint8
    again = medconv(*words[3:], "--skip-existing", cwd=folder)
    assert "skip" in (again.stdout + again.stderr)


def test_info_and_test_read_the_checkpoint_alone(fitted):
    folder, _ = fitted
    told = medconv("info", "runs/unet_sym/best.ckpt", cwd=folder).stdout
    assert "SymmetricConv" in told
    measured = medconv("test", "runs/unet_sym/best.ckpt", cwd=folder).stdout
    assert "table" in measured
    assert (folder / "runs/unet_sym/test/table.csv").read_text() == (
        folder / "runs/unet_sym/table.csv"
    ).read_text()


def test_the_checkpoint_is_exported_and_a_reference_looked_at(fitted):
    folder, _ = fitted
    run = folder / "runs/unet_sym"
    medconv("export", run / "best.ckpt", "--to", "safetensors", "bundle", "-o", run / "exported", cwd=folder)
    card = (run / "exported/README.md").read_text()
    summary = json.loads((run / "table.json").read_text())["summary"]
    assert all(f"| {c['name']} | {c['mean_dice']:.3f} |" in card for c in summary["labels"])
    image = min((folder / "data/demo/imagesTs").glob("*.nii.gz"))
    medconv("view", image, folder / "data/demo/labelsTs" / image.name, "-o", run / "look.html", cwd=folder)
    assert "<canvas" in (run / "look.html").read_text()


def test_a_second_run_does_not_overwrite_the_first(fitted):
    folder, _ = fitted
    before = (folder / "runs/unet_sym/best.ckpt").stat().st_mtime_ns
    medconv("fit", "--config", "unet_sym", *SHORT, "--trainer.max_epochs=1", "--name=unet_sym", cwd=folder)
    assert (folder / "runs/unet_sym/best.ckpt").stat().st_mtime_ns == before
    assert (folder / "runs/unet_sym-2/best.ckpt").is_file()


def test_a_killed_run_continues_and_ends_as_if_it_had_not_been_killed(tmp_path):
    words = ["fit", "--config", "unet_sym", *SHORT, "--trainer.max_epochs=4", "--trainer.max_time=null"]
    medconv(*words, "--name=whole", cwd=tmp_path)
    killed = subprocess.Popen(
        [sys.executable, "-m", "medconv", *words, "--name=killed"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    last = tmp_path / "runs/killed/last.ckpt"
    while not last.exists() and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = medconv(*words, "--name=killed", "--resume=auto", cwd=tmp_path)
    assert "continuing from" in done.stdout
    whole, resumed = (
        torch.load(tmp_path / f"runs/{name}/last.ckpt", weights_only=True) for name in ("whole", "killed")
    )
    assert resumed["global_step"] == whole["global_step"]
    for key, value in whole["state_dict"].items():
        torch.testing.assert_close(resumed["state_dict"][key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_an_interrupted_run_says_so_and_keeps_a_whole_checkpoint(tmp_path, sent, code):
    words = ["fit", "--config", "unet_sym", *SHORT, "--trainer.max_epochs=500", "--trainer.max_time=null"]
    # a test that itself runs in the background inherits a deaf ear for Ctrl-C
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    fit = subprocess.Popen([sys.executable, "-m", "medconv", *words], cwd=tmp_path, preexec_fn=listening)
    last = tmp_path / "runs/unet_sym/last.ckpt"
    while not last.exists() and fit.poll() is None:
        time.sleep(0.05)
    fit.send_signal(sent)
    assert fit.wait(timeout=120) == code
    assert torch.load(last, weights_only=True)["medconv"]["schema"] == 1


def test_resume_passes_over_a_damaged_checkpoint(tmp_path):
    words = ["fit", "--config", "unet_sym", *SHORT, "--trainer.max_time=null"]
    medconv(*words, "--trainer.max_epochs=1", cwd=tmp_path)
    last = tmp_path / "runs/unet_sym/last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    done = medconv(*words, "--trainer.max_epochs=2", "--resume=auto", cwd=tmp_path)
    assert "last.ckpt" in done.stdout
    assert "continuing from runs/unet_sym/best.ckpt" in done.stdout


def test_two_processes_evaluate_every_case_exactly_once(tmp_path):
    words = ["fit", "--config", "unet_sym", *SHORT, "--trainer.max_epochs=1", "--trainer.max_time=null"]
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.num_sanity_val_steps=0"]
    medconv(*words, *ddp, "--name=two", cwd=tmp_path)
    medconv("test", "runs/two/best.ckpt", cwd=tmp_path)
    two, one = (
        sorted(
            read_table(tmp_path / f"runs/two/{part}table.csv"), key=lambda row: (row["case_id"], row["label"])
        )
        for part in ("", "test/")
    )
    assert [(r["case_id"], r["label"]) for r in two] == [(r["case_id"], r["label"]) for r in one]
    assert [float(r["dice"]) for r in two] == pytest.approx([float(r["dice"]) for r in one], abs=1e-6)


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_weights_and_biases_needs_no_account(tmp_path, mode, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", mode)
    medconv(
        "fit", "--config", "unet_sym", "--config", "wandb", *SHORT, "--trainer.max_epochs=1", cwd=tmp_path
    )
    assert (tmp_path / "runs/unet_sym/metrics.csv").is_file()
    assert list((tmp_path / "runs/wandb").glob("offline-run-*")) if mode == "offline" else True
