"""The temperature of operators that soften a choice, lowered while training."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from medconv.errors import ConfigError
from medconv.ops import ConvOp


class TemperatureSchedule(pl.Callback):
    """Lower the ``temperature`` of one kind of operator linearly over the first epochs.

    For ``DynamicConv`` published values are 30 to 1 over 10 epochs; for ``MorphologicalConv`` 0.1 to 0.01. The
    value is a buffer of the operator and travels in checkpoints.

    Args:
        start: Temperature in the first epoch.
        end: Temperature from epoch ``epochs`` on.
        epochs: Epochs over which it falls.
        operator: Class name of the operators.

    Raises:
        ConfigError: Values that are not positive; when training starts, no such operator with a temperature.

    Source: Chen et al., "Dynamic Convolution: Attention over Convolution Kernels", CVPR 2020.
    """

    def __init__(
        self, start: float = 30.0, end: float = 1.0, epochs: int = 10, operator: str = "DynamicConv"
    ) -> None:
        if min(start, end) <= 0 or epochs < 1:
            raise ConfigError(
                f"expected positive temperatures and at least 1 epoch, got start {start}, end {end}, epochs {epochs}"
            )
        self.start, self.end, self.epochs, self.operator = start, end, epochs, operator

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the temperature of this epoch."""
        done = min(trainer.current_epoch / self.epochs, 1.0)
        buffers = list(self._temperatures(pl_module))
        if not buffers:
            raise ConfigError(f"expected {self.operator} layers with a temperature, got none in this network")
        for temperature in buffers:
            temperature.fill_(self.start + (self.end - self.start) * done)

    def _temperatures(self, module: Any) -> list[Tensor]:
        layers = [m for m in module.modules() if isinstance(m, ConvOp) and type(m).__name__ == self.operator]
        # a hard morphological operator has none to lower
        found = [m.get_buffer("temperature") for m in layers if "temperature" in dict(m.named_buffers())]
        return [temperature for temperature in found if float(temperature) > 0]
