"""``--resume auto`` continues bit by bit, wherever a run was interrupted and however many processes load its data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medconv.cli.main import main
from medconv.training import SegmentationTask

# the command filters what Lightning says; its parser's library warns of options that Lightning passes it
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*JSONARGPARSE_DEPRECATION_WARNINGS"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
]

STEPS, EPOCHS = 3, 3
AFTER_STEP = {"end of an epoch": STEPS, "middle of an epoch": STEPS + 1}


def fit(root: Path, name: str, workers: int, *words: str) -> int:
    settings = {
        "data": "NiftiDataModule",
        "data.init_args.root": root,
        "data.init_args.cache_dir": "cache",
        "data.init_args.patch_size": "[16,16,8]",
        "data.init_args.batch_size": 1,
        "data.init_args.steps_per_epoch": STEPS,
        "data.init_args.num_folds": 2,
        "data.init_args.num_workers": workers,
        "model.network": "UNet",
        "model.network.init_args.spatial_dims": 3,
        "model.network.init_args.in_channels": 1,
        "model.network.init_args.num_classes": 3,
        "model.network.init_args.channels": "[2,4]",
        "model.network.init_args.dropout": 0.2,
        "trainer.max_epochs": EPOCHS,
        "trainer.accelerator": "cpu",
        "trainer.devices": 1,
        "trainer.num_sanity_val_steps": 0,
        "trainer.gradient_clip_val": 12.0,
        "model.ema_decay": 0.9,
    }
    given = [f"--{key}={value}" for key, value in settings.items()]
    return main(["fit", f"--name={name}", *given, *words])


def tensors(name: str) -> dict[str, torch.Tensor]:
    content = torch.load(f"runs/{name}/last.ckpt", weights_only=True)
    momenta = content["optimizer_states"][0]["state"]
    return {
        **{f"average {key}": value for key, value in content["state_dict"].items()},
        **{f"raw {key}": value for key, value in content["current_model_state"].items()},
        **{f"{number} {key}": v for number, state in momenta.items() for key, v in state.items()},
    }


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_ends_as_the_unbroken_one_bit_by_bit(
    tiny_dataset, tmp_path, monkeypatch, capsys, workers
):
    monkeypatch.chdir(tmp_path)
    assert fit(tiny_dataset, "whole", workers) == 0
    whole = tensors("whole")
    for place, step in AFTER_STEP.items():
        ordinary = SegmentationTask.on_train_batch_start

        def interrupt(task, batch, batch_idx, step=step, ordinary=ordinary):
            if task.trainer.global_step == step:
                raise KeyboardInterrupt
            ordinary(task, batch, batch_idx)

        with monkeypatch.context() as patch:
            patch.setattr(SegmentationTask, "on_train_batch_start", interrupt)
            assert fit(tiny_dataset, place, workers) == 130
        stopped = torch.load(f"runs/{place}/last.ckpt", weights_only=True)
        assert stopped["global_step"] == step
        assert fit(tiny_dataset, place, workers, "--resume=auto") == 0
        told = capsys.readouterr().out
        assert f"continuing from runs/{place}/last.ckpt" in told
        assert f"whole case(s) with runs/{place}/best.ckpt" in told
        resumed = tensors(place)
        different = [name for name in whole if not torch.equal(whole[name], resumed[name])]
        assert resumed.keys() == whole.keys()
        assert different == [], place


@pytest.mark.slow
def test_folds_have_folders_of_their_own_and_transfer_between_operators_tells_what_it_did(
    tiny_dataset, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    short = ("--trainer.max_epochs=1", "--data.init_args.steps_per_epoch=1")
    assert fit(tiny_dataset, "cv", 0, *short, "--fold=1") == 0
    assert fit(tiny_dataset, "cv", 0, *short, "--fold=1") == 0
    assert sorted(str(p.parent) for p in Path("runs").rglob("config.yaml")) == [
        "runs/cv/fold_1",
        "runs/cv/fold_1-2",
    ]
    capsys.readouterr()
    symmetric = "--model.network.init_args.conv=SymmetricConv"
    start = "--init-from=runs/cv/fold_1/best.ckpt"
    assert fit(tiny_dataset, "sym", 0, *short, symmetric, start) == 0
    told = capsys.readouterr().out
    assert "weights from runs/cv/fold_1/best.ckpt:" in told
    assert "lost share of a kernel: median 0." in told
    assert "encoder.blocks.0.units.0.conv.weight" in Path("runs/sym/init_from.txt").read_text()
    folds = "--data.init_args.splits=runs/cv/fold_1/splits_final.json"
    unset = "--data.init_args.num_folds=null"
    assert fit(tiny_dataset, "told", 0, *short, folds, unset, "--fold=7") == 2
    assert "expected a fold from 0 to 1, got fold 7" in capsys.readouterr().err
    assert not Path("runs/told").exists()
    assert fit(tiny_dataset, "wide", 0, "--model.network.init_args.channels=[2,8]", start) == 2
    assert (
        "--init-from runs/cv/fold_1/best.ckpt: the weights do not fit the new network"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_explained_and_a_preview_trains_nothing(
    tiny_dataset, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTask, "training_step", full)
        assert fit(tiny_dataset, "full", 0, "--data.init_args.batch_size=6") == 1
    told = capsys.readouterr().err
    assert (
        "memory does not hold a batch of 6 patches of 16 × 16 × 8 voxels: set --data.init_args.batch_size 3"
        in told
    )
    assert "Traceback" not in told
    assert fit(tiny_dataset, "seen", 0, "--preview-augmentation=seen.png") == 0
    assert Path("seen.png").read_bytes().startswith(b"\x89PNG")
    assert not Path("runs/seen").exists()
    assert fit(tiny_dataset, "seen", 0, "--preview-augmentation=no/seen.jpg") == 2
    assert "expected a .png file in a folder that exists, got no/seen.jpg" in capsys.readouterr().err


def test_a_refused_fold_leaves_no_folder(tiny_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert fit(tiny_dataset, "cv", 0, "--fold=7") == 2
    assert "a fold from 0 to num_folds - 1, got 2 and 7" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_run_is_not_continued_under_another_plan(tiny_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = ("--trainer.max_epochs=1", "--data.init_args.steps_per_epoch=1")
    assert fit(tiny_dataset, "a", 0, *short) == 0
    before = {name: Path(f"runs/a/{name}").read_bytes() for name in ("plan.yaml", "config.yaml")}
    other = "--data.init_args.normalization=[none]"
    assert fit(tiny_dataset, "a", 0, *short, "--resume=auto", other) == 2
    assert "normalization: ('zscore',) in the run, ('none',) now" in capsys.readouterr().err
    assert before == {name: Path(f"runs/a/{name}").read_bytes() for name in before}
    longer = ("--data.init_args.steps_per_epoch=1", "--trainer.max_epochs=2")
    with pytest.warns(UserWarning, match="continues with patches of"):
        assert (
            fit(tiny_dataset, "a", 0, *longer, "--resume=auto", "--data.init_args.patch_size=[8,16,8]") == 0
        )
    assert Path("runs/a/plan.yaml").read_bytes() == before["plan.yaml"]
