"""What happens in a training and in a validation step, and nothing else."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torchmetrics.aggregation import MeanMetric

from medconv.errors import ConfigError
from medconv.inference import pack
from medconv.kernels import HAS_TRITON, to_channels_last, to_contiguous
from medconv.losses import DiceCrossEntropyLoss, Loss
from medconv.models import SegmentationModel
from medconv.planning import Plan
from medconv.training.callbacks.average_weights import AverageWeights, refuse_lost_average
from medconv.training.callbacks.shared_clock import SharedClock
from medconv.training.callbacks.step_loss import STEP_LOSS, StepLoss
from medconv.training.log_steps import log_known, logs_now
from medconv.training.measured_task import MeasuredTask
from medconv.training.optim import (
    OptimizerName,
    ScheduleName,
    build_optimizer,
    learning_rate_factor,
    require_known,
)
from medconv.training.optimizer_state import lay_out_state
from medconv.training.progress import local_time_share, step_share
from medconv.training.recorded_loss import RecordedLoss
from medconv.training.require_fit import require_fit
from medconv.training.same_plan import require_same_plan, warn_of_other_patch
from medconv.training.supervise import supervise
from medconv.transforms import Preprocessor


class SegmentationTask(MeasuredTask):
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
        ema_decay: Average the weights with this decay, such as 0.999; the average is what is measured and saved.
            ``None``: no average.
        overlap: Share by which sliding-window tiles overlap in validation.
        tile_batch: Tiles that pass the network together in validation.
        surface_every: Validations between two that also measure surfaces (HD95 and so on); a test always does.
        mirror: Whether the final measurement averages over mirrored copies (2 to 8 times slower); validation between
            epochs never does. Axes on which labels have sides are left out.
        compile: Whether the network is compiled on a GPU before training.
        cuda_graph: Whether training steps on a GPU are recorded once and replayed (see ``GraphedStep``): the same
            numbers, sooner. ``"auto"``: wherever that works, which is not with float16.
        channels_last: Whether maps on a GPU have the channels of a voxel side by side, as tensor cores want them:
            the same numbers up to rounding, sooner. ``"auto"``: where Triton is there to run the norms so.

    Raises:
        ConfigError: A setting outside its range.

    Example:
        >>> from medconv.models import UNet
        >>> task = SegmentationTask(UNet(2, 1, 3, channels=[4, 8]), lr=1e-3)
        >>> task(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 3, 16, 16])
    """

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
        ema_decay: float | None = None,
        overlap: float = 0.5,
        tile_batch: int = 4,
        surface_every: int = 1,
        mirror: bool = False,
        compile: bool = False,  # noqa: A002 - the word that PyTorch users type
        cuda_graph: bool | Literal["auto"] = "auto",
        channels_last: bool | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        require_known("optimizer", optimizer, get_args(OptimizerName))
        require_known("schedule", schedule, get_args(ScheduleName))
        # written so that NaN is refused
        if not (lr > 0 and 0 <= momentum < 1 and 0 <= warmup < 1 and weight_decay >= 0):
            raise ConfigError(
                "expected lr > 0, 0 <= momentum < 1, 0 <= warmup < 1 and weight_decay >= 0; got "
                f"lr {lr}, momentum {momentum}, warmup {warmup}, weight_decay {weight_decay}"
            )
        if not 0 <= overlap < 1 or tile_batch < 1:
            wanted = "expected overlap from 0 up to, not including, 1 and tile_batch from 1"
            raise ConfigError(f"{wanted}; got overlap {overlap} and tile_batch {tile_batch}")
        if surface_every < 1:
            raise ConfigError(f"expected surface_every of 1 or more validations, got {surface_every}")
        self.network = network
        self.loss = supervise(loss or DiceCrossEntropyLoss())
        self.optimizer_settings = (optimizer, lr, weight_decay, momentum)
        self.schedule, self.warmup = schedule, warmup
        self.overlap, self.tile_batch, self.mirror = overlap, tile_batch, mirror
        self.compile_network, self.channels_last = compile, channels_last
        self._clock = SharedClock()
        self._averages = None if ema_decay is None else AverageWeights(ema_decay)
        self._is_channels_last = False
        self._recorded = RecordedLoss(self._eager_loss, network, cuda_graph)
        self._is_fused = False
        self._losses: list[Tensor] = []
        self.config = {}
        self.data_config: dict[str, Any] = {}
        self.surface_every = surface_every
        self.train_loss = MeanMetric(nan_strategy="disable")
        # a rank may have no validation case of its own
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits ``(B, K, *S)``; in training with deep supervision, a list, full resolution first."""
        return self.network(to_channels_last(x) if self._is_channels_last else x)

    # --- preparation -------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Take the plan from the data module, refuse a network that does not fit it, compile if asked."""
        self.plan = self.trainer.datamodule.plan  # type: ignore[attr-defined]
        self.preprocessor = Preprocessor(self.plan)
        require_fit(self.network, self.plan)
        self.loss = supervise(self.loss.loss, self.plan)
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        self._is_channels_last = on_gpu and (
            HAS_TRITON if self.channels_last == "auto" else self.channels_last
        )
        (to_channels_last if self._is_channels_last else to_contiguous)(self.network)
        for name, wanted in (("channels_last", self.channels_last), ("compile", self.compile_network)):
            if wanted is True and not on_gpu:
                warnings.warn(f"model.{name} has no effect: it needs a GPU", stacklevel=2)
        if self.compile_network and stage == "fit" and on_gpu:
            self.network.compile()
        if stage == "fit":
            self._recorded.prepare(on_gpu=on_gpu, precision=str(self.trainer.precision))

    def configure_callbacks(self) -> list[pl.Callback]:
        """What writes the losses of steps down and what asks for the time; the average of the weights, if wanted."""
        there: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        writer = next((callback for callback in there if isinstance(callback, StepLoss)), StepLoss())
        wanted = [writer, self._clock, *([] if self._averages is None else [self._averages])]
        # a trainer that is used again has them, and would tell that they are replaced
        return [callback for callback in wanted if callback not in there]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser; the learning rate is set before each step from the progress of the run."""
        # with float16 the gradient scaler unscales before clipping, which a fused optimiser does not let it
        self._is_fused = self.device.type == "cuda" and self.trainer.precision != "16-mixed"
        return build_optimizer(self.network, *self.optimizer_settings, fused=self._is_fused)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as ``trainer.gradient_clip_val`` says; Lightning itself refuses to where the optimiser is fused."""
        if self._is_fused and gradient_clip_val:
            clip = clip_grad_value_ if gradient_clip_algorithm == "value" else clip_grad_norm_
            # its own list: walking through all modules takes longer than clipping
            clip([p for group in optimizer.param_groups for p in group["params"]], gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    # --- training ----------------------------------------------------------------------------------

    def progress(self) -> float:
        """Done share of the run, 0 to 1, equal on all ranks."""
        is_alone = self.trainer.world_size == 1
        used = local_time_share(self.trainer) if is_alone else self._clock.time_share
        return max(step_share(self.trainer), used)

    def on_train_start(self) -> None:
        """Begin where the run stands, with nothing left of an earlier one."""
        self._losses = []
        self.train_loss.reset()
        self._recorded.exchange_over(self.trainer.strategy.model)
        for optimizer in self.trainer.optimizers:
            lay_out_state(optimizer)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Set the learning rate for this step."""
        del batch
        self._recorded.begin_step()
        progress = self.progress()
        lr = self.optimizer_settings[1] * learning_rate_factor(progress, self.schedule, self.warmup)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = lr
        if logs_now(self.trainer, batch_idx):
            log_known(self, "lr", lr)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of one batch of patches."""
        loss = self._recorded(batch["image"], batch["label"])
        self._losses.append(loss.detach())
        if logs_now(self.trainer, batch_idx):
            self.log(STEP_LOSS, loss.detach(), on_step=True, on_epoch=False, logger=False)
        if logs_now(self.trainer, batch_idx) or self.trainer.is_last_batch:
            self._count_losses()
        return loss

    def _count_losses(self) -> None:
        if self._losses:
            self.train_loss.update(torch.stack(self._losses))
            self._losses = []

    def _eager_loss(self, image: Tensor, label: Tensor) -> Tensor:
        return self.loss(self(image), label)

    def refuse_recording(self, reason: str) -> None:
        """Have steps run one by one: for callbacks that change what a step does while training."""
        self._recorded.refuse(reason)

    def teardown(self, stage: str) -> None:
        """Give the memory of the recorded step back and stop measuring, however the run ended."""
        del stage
        self._recorded.forget()
        if self._measuring is not None:
            self._measuring.close()
        self._measuring = None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Have the last weights validated: those of the lowest learning rate are the ones to keep."""
        del outputs, batch, batch_idx
        if self.trainer.should_stop or self.trainer.global_step >= self.trainer.estimated_stepping_batches:
            self.trainer.check_val_every_n_epoch = 1
            self._count_losses()  # a time limit ends the epoch in its middle

    def on_train_epoch_end(self) -> None:
        """Log the mean loss over all ranks; the metric object does the reduction."""
        self._count_losses()
        if self.train_loss.update_called:  # not where an interrupted validation is made up for
            self.log("train/loss", self.train_loss.compute())
        self.train_loss.reset()

    # --- checkpoints -------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to use the weights without this class: configuration, plan, figures, version."""
        config = {"model": self.config, "data": self.data_config}
        checkpoint["medconv"] = pack(config=config, plan=self.plan, metrics=self.measured)
        if self._averages is not None:
            self._averages.put_into(checkpoint, self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the figures measured so far, until the next validation; refuse to train on under another plan."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            begun = Plan.from_dict(checkpoint["medconv"]["plan"])
            require_same_plan(begun, self.plan)
            warn_of_other_patch(begun, self.plan)
            refuse_lost_average(checkpoint, averages=self._averages is not None)
        self.measured = checkpoint["medconv"]["metrics"]
