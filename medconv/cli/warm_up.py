"""A GPU's first steps, taken while a command still loads what else it needs."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread

import torch


def warm_up(device: str) -> None:
    """Begin to start a GPU in a thread: its context, and the libraries of a first convolution and norm.

    For another device, and where there is no GPU, nothing is started; what goes wrong is left to who uses the GPU later
    and can say it.

    Args:
        device: ``"auto"``, ``"cuda"``, ``"cuda:1"``; any other text is another device.

    Example:
        >>> warm_up("cpu")
    """
    if device.partition(":")[0] in ("auto", "cuda"):
        Thread(target=_first_steps, args=(device,), name="medconv-warm-up").start()


def _first_steps(device: str) -> None:
    with suppress(Exception):
        if torch.cuda.is_available():
            _convolve(torch.device("cuda" if device == "auto" else device))


@torch.inference_mode()
def _convolve(gpu: torch.device) -> None:
    # the context first: the driver takes its time, and meanwhile the rest of the command is imported
    voxels = torch.zeros(1, 16, 8, 8, device=gpu, dtype=torch.bfloat16)
    from medconv.kernels import instance_norm_act, to_channels_last

    voxels = to_channels_last(voxels)
    scores = torch.conv2d(voxels, voxels.new_zeros(16, 16, 3, 3), padding=1)
    scale = torch.ones(16, device=gpu)
    instance_norm_act(scores, scale, torch.zeros_like(scale), eps=1e-5, slope=0.01)
