"""A replayed step gives the numbers of an ordinary one."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from medconv.datamodules import NiftiDataModule
from medconv.losses import DiceCrossEntropyLoss
from medconv.training import build_task
from medconv.training.graphed_step import GraphedStep

NETWORK = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 3, "in_channels": 1, "num_classes": 3, "channels": [4, 8, 8]},
}


def data(tiny_dataset, tmp_path):
    return NiftiDataModule(
        tiny_dataset,
        patch_size=[16, 16, 8],
        batch_size=2,
        steps_per_epoch=4,
        num_folds=2,
        num_workers=0,
        cache_dir=tmp_path / "cache",
    )


def trainer(tmp_path, **settings):
    return pl.Trainer(
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        devices=1,
        **settings,
    )


def test_on_a_cpu_it_is_said_that_nothing_is_recorded(tiny_dataset, tmp_path):
    task = build_task({"network": NETWORK, "cuda_graph": True})
    with pytest.warns(UserWarning, match=r"model.cuda_graph has no effect: it needs a GPU"):
        trainer(tmp_path, accelerator="cpu", max_epochs=1).fit(task, data(tiny_dataset, tmp_path))
    assert task.measured


def batches(number, seed=0):
    torch.manual_seed(seed)
    return [
        (torch.randn(2, 1, 16, 16, 8, device="cuda"), torch.randint(0, 3, (2, 1, 16, 16, 8), device="cuda"))
        for _ in range(number)
    ]


def gradients(loss, network):
    network.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in network.parameters()]


@pytest.mark.gpu
@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_losses_and_gradients_equal_those_of_ordinary_steps(half, is_flat):
    network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 3, 1))
    network.cuda()
    loss = DiceCrossEntropyLoss()

    def eager(image, label):
        return loss(network(image), label)

    before = {name: value.clone() for name, value in network.state_dict().items()}
    data = batches(5)

    def autocast():  # entered anew for each step, as a trainer does: it remembers weights that it has cast
        return torch.autocast("cuda", torch.bfloat16, half)

    with autocast():
        graphed = GraphedStep(eager, network, *data[0], is_flat=is_flat)
    assert graphed.changes_buffers
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    tolerance = {"rtol": 1e-2, "atol": 1e-3} if half else {"rtol": 1e-4, "atol": 1e-5}
    for image, label in data:
        assert graphed.fits(image, label)
        with autocast():
            replayed = graphed.averaged(image, label, lambda _: None) if is_flat else graphed(image, label)
            expected = eager(image, label)
        torch.testing.assert_close(replayed, expected, **tolerance)
        for a, b in zip(gradients(2 * replayed, network), gradients(2 * expected, network), strict=True):
            torch.testing.assert_close(a, b, **tolerance)
        with torch.no_grad():  # as an optimiser does: in place
            for p in network.parameters():
                p.add_(0.01 * torch.randn_like(p))
    assert not graphed.fits(data[0][0][:1], data[0][1][:1])


@pytest.mark.gpu
def test_a_recorded_training_ends_where_an_ordinary_one_ends(tiny_dataset, tmp_path):
    ends = []
    for cuda_graph in (False, True):
        pl.seed_everything(3)
        task = build_task({"network": NETWORK, "cuda_graph": cuda_graph})
        trainer(tmp_path, accelerator="gpu", max_epochs=2, deterministic=True).fit(
            task, data(tiny_dataset, tmp_path)
        )
        ends.append([p.detach().cpu() for p in task.parameters()])
    for eager, recorded in zip(*ends, strict=True):
        torch.testing.assert_close(recorded, eager, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_float16_is_refused_with_a_reason(tiny_dataset, tmp_path):
    task = build_task({"network": NETWORK, "cuda_graph": True})
    with pytest.warns(UserWarning, match="float16 gradients would underflow; use bf16-mixed"):
        trainer(tmp_path, accelerator="gpu", precision="16-mixed", max_epochs=1).fit(
            task, data(tiny_dataset, tmp_path)
        )
