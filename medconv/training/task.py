"""What happens in a training and in a validation step, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torchmetrics.aggregation import MeanMetric

from medconv.errors import ConfigError, DatasetError
from medconv.inference import mirror_average, mirror_axes, pack, sliding_window
from medconv.losses import DeepSupervisionLoss, DiceCrossEntropyLoss, Loss
from medconv.metrics import SegmentationTable
from medconv.models import SegmentationModel
from medconv.planning import Plan
from medconv.training.optim import OptimizerName, ScheduleName, build_optimizer, learning_rate_factor
from medconv.training.progress import run_progress
from medconv.training.sharing import gather_rows
from medconv.transforms import Preprocessor


class SegmentationTask(pl.LightningModule):
    """Train a network on patches, measure it on whole cases in millimetres.

    The learning rate follows the done share of the run: steps over all steps, or minutes over ``max_time``,
    whichever is further. A run that is resumed continues on the same curve.

    Args:
        network: The network; any ``SegmentationModel``.
        loss: Compares logits with labels; ``None`` is Dice + cross-entropy. Deep supervision is added around it.
        optimizer: ``"adamw"``, or ``"sgd"`` with Nesterov momentum.
        lr: Peak learning rate.
        weight_decay: Decay of kernels (norms, biases and scalars are exempt).
        momentum: Momentum of SGD, first beta of AdamW.
        schedule: Shape of the learning-rate curve.
        warmup: Share of the run over which the rate rises.
        overlap: Share by which sliding-window tiles overlap in validation.
        tile_batch: Tiles that pass the network together in validation.
        mirror: Whether the final measurement averages over mirrored copies (2 to 8 times slower); validation between
            epochs never does. Axes on which labels have sides are left out.
        compile: Whether the network is compiled on a GPU before training.

    Raises:
        ConfigError: A setting outside its range.

    Example:
        >>> from medconv.models import UNet
        >>> task = SegmentationTask(UNet(2, 1, 3, channels=[4, 8]), lr=1e-3)
        >>> task(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 3, 16, 16])
    """

    plan: Plan
    config: dict[str, Any]

    def __init__(
        self,
        network: SegmentationModel,
        *,
        loss: Loss | None = None,
        optimizer: OptimizerName = "adamw",
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        momentum: float = 0.9,
        schedule: ScheduleName = "poly",
        warmup: float = 0.0,
        overlap: float = 0.5,
        tile_batch: int = 4,
        mirror: bool = False,
        compile: bool = False,  # noqa: A002 - the word that PyTorch users type
    ) -> None:
        super().__init__()
        if lr <= 0 or not 0 <= momentum < 1 or not 0 <= warmup < 1 or weight_decay < 0:
            raise ConfigError(
                "expected lr > 0, 0 <= momentum < 1, 0 <= warmup < 1 and weight_decay >= 0; got "
                f"lr {lr}, momentum {momentum}, warmup {warmup}, weight_decay {weight_decay}"
            )
        self.network = network
        self.loss = DeepSupervisionLoss(loss or DiceCrossEntropyLoss())
        self.optimizer_settings = (optimizer, lr, weight_decay, momentum)
        self.schedule, self.warmup = schedule, warmup
        self.overlap, self.tile_batch, self.mirror = overlap, tile_batch, mirror
        self.compile_network = compile
        self.config = {}
        self.data_config: dict[str, Any] = {}
        self.measured: dict[str, Any] = {}
        self.table: SegmentationTable | None = None
        self.train_loss = MeanMetric(nan_strategy="disable")
        # a rank may have no validation case of its own
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits ``(B, K, *S)``; in training with deep supervision, a list, full resolution first."""
        return self.network(x)

    # --- preparation -------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Take the plan from the data module, refuse a network that does not fit it, compile if asked."""
        self.plan = self.trainer.datamodule.plan  # type: ignore[attr-defined]
        self.preprocessor = Preprocessor(self.plan)
        require_fit(self.network, self.plan)
        if self.compile_network and stage == "fit" and self.trainer.strategy.root_device.type == "cuda":
            self.network.compile()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser; the learning rate is set before each step from the progress of the run."""
        return build_optimizer(self.network, *self.optimizer_settings)

    # --- training ----------------------------------------------------------------------------------

    def progress(self) -> float:
        """Done share of the run, 0 to 1, equal on all ranks."""
        return run_progress(self.trainer)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Set the learning rate for this step."""
        del batch, batch_idx
        lr = self.optimizer_settings[1] * learning_rate_factor(self.progress(), self.schedule, self.warmup)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = lr
        self.log("lr", lr, on_step=True, on_epoch=False)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of one batch of patches."""
        del batch_idx
        loss = self.loss(self(batch["image"]), batch["label"])
        self.train_loss.update(loss.detach())
        self.log("train/loss_step", loss.detach(), prog_bar=True, on_step=True, on_epoch=False)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Have the last weights validated: those of the lowest learning rate are the ones to keep."""
        del outputs, batch, batch_idx
        if self.trainer.should_stop or self.progress() >= 1:
            self.trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self) -> None:
        """Log the mean loss over all ranks; the metric object does the reduction."""
        self.log("train/loss", self.train_loss.compute())
        self.train_loss.reset()

    # --- validation and test -----------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Begin an empty table."""
        self.table = SegmentationTable(self.plan.label_names)

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Predict one whole case, measure it on its own grid."""
        del batch_idx
        return self._measure(batch, mirror=self.mirror and self.trainer.state.fn != "fit")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """As in validation, with mirroring where asked for."""
        del batch_idx
        return self._measure(batch, mirror=self.mirror)

    def on_validation_epoch_end(self) -> None:
        """Merge the ranks' tables and log the summary."""
        self._summarise("val")

    def on_test_epoch_end(self) -> None:
        """Merge the ranks' tables and log the summary."""
        self._summarise("test")

    def predict_logits(self, image: Tensor, *, mirror: bool) -> Tensor:
        """Logits ``(1, K, *S)`` of a whole preprocessed image by sliding window."""

        def window(x: Tensor) -> Tensor:
            return sliding_window(
                self.network, x, self.plan.patch_size, overlap=self.overlap, batch_size=self.tile_batch
            )

        if not mirror:
            return window(image)
        plan = self.plan
        axes = mirror_axes(plan.orientation, plan.spatial_dims, plan.label_names.values())
        return mirror_average(window, image, axes)

    def _measure(self, batch: dict[str, Any], *, mirror: bool) -> dict[str, Any]:
        assert self.table is not None
        logits = self.predict_logits(batch["image"], mirror=mirror)[0].float()
        prediction = self.preprocessor.restore(logits, batch["record"])
        self.table.add(batch["case_id"], prediction, batch["label"], batch["spacing_mm"])
        return {"case_id": batch["case_id"], "labels": logits.argmax(0)}

    def _summarise(self, stage: str) -> None:
        assert self.table is not None
        self.table.merge(gather_rows(self.table.rows))
        summary = self.table.summary()
        if not self.trainer.sanity_checking:
            self.measured = summary.to_dict()
        self.log(f"{stage}/dice", summary.class_first_mean_dice, prog_bar=True)
        self.log(f"{stage}/hd95_mm", summary.class_first_mean_hd95_mm)
        for label in summary.labels:
            self.log(f"{stage}/dice_{label.name}", label.mean_dice)

    # --- checkpoints -------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to use the weights without this class: configuration, plan, figures, version."""
        config = {"model": self.config, "data": self.data_config}
        checkpoint["medconv"] = pack(config=config, plan=self.plan, metrics=self.measured)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the figures measured so far, until the next validation."""
        self.measured = checkpoint["medconv"]["metrics"]


def require_fit(network: SegmentationModel, plan: Plan) -> None:
    """Refuse a network whose axes, channels or classes differ from the data's.

    Raises:
        DatasetError: With both numbers and the setting to change.
    """
    pairs: Sequence[tuple[str, int, int]] = (
        ("spatial_dims", network.spatial_dims, plan.spatial_dims),
        ("in_channels", network.in_channels, plan.in_channels),
        ("num_classes", network.num_classes, plan.num_classes),
    )
    for name, built, needed in pairs:
        if built != needed:
            raise DatasetError(
                f"the network has {name} {built}, the data {needed}; set model.network.init_args.{name}={needed} "
                f"(channels {list(plan.channel_names)}, labels {dict(plan.label_names)})"
            )
