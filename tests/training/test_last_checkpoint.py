from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn
from torch.utils.data import DataLoader

from medconv.training import LastCheckpoint


class Interrupted(pl.LightningModule):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.layer = error, nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        if batch_idx:
            raise self.error
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("error", "saved"),
    [(SIGTERMException(), True), (KeyboardInterrupt(), True), (RuntimeError("broken"), False)],
    ids=["terminated", "interrupted", "failed"],
)
def test_weights_are_saved_when_a_run_is_interrupted_but_not_when_it_fails(
    tmp_path: Path, error: BaseException, saved: bool
) -> None:
    last = LastCheckpoint(tmp_path, filename="last", save_on_exception=True, enable_version_counter=False)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[last], logger=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises((SystemExit, SIGTERMException, RuntimeError), match=r"broken|1|^$"):
        trainer.fit(Interrupted(error), DataLoader(torch.ones(2, 1)))
    assert (tmp_path / "last.ckpt").exists() == saved
