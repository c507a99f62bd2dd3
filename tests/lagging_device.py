"""For tests, without a GPU, of code that must not wait for one."""

from __future__ import annotations

from dataclasses import dataclass, field

import lightning.pytorch as pl
import pytest
from torch import Tensor

from medconv.training import on_the_way


@dataclass
class LaggingDevice(pl.Callback):
    """What is sent from it arrives ``lag`` training steps later; notes the steps in which somebody waited for it."""

    lag: int
    now: int = 0
    waited_in: list[int] = field(default_factory=list)

    def pretend(self, patch: pytest.MonkeyPatch) -> None:
        """Have all numbers come from this device."""
        patch.setattr(on_the_way, "_arrival", lambda values: _Arrival(self, values, self.now))

    def on_train_batch_start(self, *_: object) -> None:
        self.now += 1


@dataclass
class _Arrival:
    device: LaggingDevice
    values: Tensor
    sent: int

    def query(self) -> bool:
        return self.device.now >= self.sent + self.device.lag

    def synchronize(self) -> None:
        if not self.query():
            self.device.waited_in.append(self.device.now)
