"""What to do when a batch does not fit: a machine's words for it, turned into a setting to change."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable

import torch

from medconv.datamodules import SegmentationDataModule
from medconv.errors import ConfigError
from medconv.models import SegmentationModel
from medconv.training.step_memory import largest_fitting, peak_of_step

_CPU_WORDS = ("can't allocate memory", "DefaultCPUAllocator: not enough memory")
_GPU_CLASS = "OutOfMemoryError"

_SHARE = 0.9
"""Of what is free, that a step which was tried may take: the recipe's own loss may take more than the tried one."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of PyTorch says that memory ran out, on a GPU or a CPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == _GPU_CLASS
        or any(words in str(error) for words in _CPU_WORDS)
    )


def smaller_batch(
    error: BaseException,
    network: SegmentationModel,
    data: SegmentationDataModule,
    device: torch.device,
    *,
    is_mixed: bool,
) -> int | None:
    """A smaller batch of which a step was tried on the GPU and fits; ``None`` where that cannot be tried.

    Args:
        error: Of the batch that did not fit; the tensors in its frames are let go.
        network: That was trained.
        data: With its plan prepared.
        device: Where it was trained.
        is_mixed: Whether in 16 bits.
    """
    if device.type != "cuda":
        return None
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    torch.cuda.empty_cache()
    room = _SHARE * torch.cuda.mem_get_info(device)[0]
    return tried_batch(
        lambda size: peak_of_step(network, data.plan, size, device, is_mixed=is_mixed), data.batch_size, room
    )


def tried_batch(measure: Callable[[int], int | None], batch_size: int, limit_bytes: float) -> int | None:
    """The first of the halves of a batch that fits; ``None`` where none does, or none can be tried.

    Example:
        >>> tried_batch(lambda batch: batch * 100, 8, 250), tried_batch(lambda batch: batch * 100, 1, 250)
        (2, None)
    """
    try:
        return largest_fitting(measure, batch_size // 2, limit_bytes).batch_size
    except (ConfigError, RuntimeError):  # an advice must not hide what it is about
        return None


def explain_out_of_memory(
    error: BaseException, data: SegmentationDataModule, fitting: int | None = None
) -> str:
    """The batch that did not fit, and what to set; ``fitting`` is a smaller one that was tried."""
    patch = getattr(getattr(data, "plan", None), "patch_size", ())
    size = f"{data.batch_size} patches of {' × '.join(map(str, patch))} voxels"
    if fitting is not None:
        remedy = f"--data.init_args.batch_size {fitting}, of which a step was tried and fits"
    elif data.batch_size > 1:
        remedy = f"--data.init_args.batch_size {data.batch_size // 2}"
    else:
        remedy = "a smaller --data.init_args.patch_size"
    first = str(error).partition("\n")[0]
    return (
        f"memory does not hold a batch of {size}: set {remedy}; --trainer.precision bf16-mixed and fewer "
        f"--model.network.init_args.channels help too. Nothing was saved by this step ({first})"
    )
