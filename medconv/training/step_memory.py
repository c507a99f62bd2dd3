"""What a training step takes on the device that is there: run once, and with a smaller batch where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from medconv.errors import ConfigError
from medconv.losses import DiceCrossEntropyLoss
from medconv.models import SegmentationModel
from medconv.planning import Plan
from medconv.training.supervise import supervise


@dataclass(frozen=True)
class FittingBatch:
    """A batch that was tried.

    Args:
        batch_size: Patches in it.
        peak_bytes: What the step took.
        tried: Larger batches that did not fit.
    """

    batch_size: int
    peak_bytes: int
    tried: tuple[int, ...]


def largest_fitting(
    measure: Callable[[int], int | None], batch_size: int, limit_bytes: float
) -> FittingBatch:
    """Halve a batch until its step fits.

    Args:
        measure: Peak bytes of a step with so many patches; ``None`` where the device ran out of memory.
        batch_size: To begin with.
        limit_bytes: Largest peak that counts as fitting.

    Raises:
        ConfigError: Not even one patch fits.

    Example:
        >>> largest_fitting(lambda batch: batch * 100, 8, limit_bytes=250)
        FittingBatch(batch_size=2, peak_bytes=200, tried=(8, 4))
    """
    tried: list[int] = []
    while batch_size >= 1:
        peak = measure(batch_size)
        if peak is not None and peak <= limit_bytes:
            return FittingBatch(batch_size, peak, tuple(tried))
        tried.append(batch_size)
        batch_size //= 2
    sizes = ", ".join(map(str, tried))
    raise ConfigError(
        f"expected room for one patch in {limit_bytes / 1e9:.1f} GB, tried batches of {sizes}; give a smaller patch, "
        "cheaper operators, or more memory"
    )


def peak_of_step(
    network: SegmentationModel, plan: Plan, batch_size: int, device: torch.device, *, is_mixed: bool = True
) -> int | None:
    """Peak memory of a training step on random patches, with AdamW; the network is left as it was.

    Args:
        network: On any device.
        plan: Of the data: patch, labels and regions.
        batch_size: Patches.
        device: A GPU.
        is_mixed: Whether in bfloat16, or in the type of the weights.

    Returns:
        Bytes, or ``None`` where they were more than the device has.

    Raises:
        ConfigError: Not a GPU: nothing else says what a step took.
    """
    if device.type != "cuda":
        raise ConfigError(f"expected a GPU to measure memory on, got {device}; leave --device at none")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    try:
        train_one_step(network, plan, batch_size, device, is_mixed=is_mixed)
        return torch.cuda.max_memory_allocated(device) - before
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        torch.cuda.empty_cache()


def train_one_step(
    network: SegmentationModel, plan: Plan, batch_size: int, device: torch.device, *, is_mixed: bool = True
) -> float:
    """Forward, loss, backward and update on random patches of a plan, and the network as it was; returns the loss.

    Two steps, because the optimiser takes its memory in the first.
    """
    from_host = {name: value.clone() for name, value in network.state_dict().items()}
    home = next(network.parameters()).device
    modes = [(module, module.training) for module in network.modules()]
    try:  # memory may be short from here on
        model = network.to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        loss_of = supervise(DiceCrossEntropyLoss(), plan).to(device)
        image = torch.randn(batch_size, network.in_channels, *plan.patch_size, device=device)
        label = torch.randint(plan.num_labels, (batch_size, 1, *plan.patch_size), device=device)
        for _ in range(2):
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
                loss = loss_of(model(image), label)
            loss.backward()
            optimizer.step()
        return loss.item()
    finally:
        network.zero_grad(set_to_none=True)
        network.to(home).load_state_dict(from_host)
        for module, mode in modes:
            module.training = mode
