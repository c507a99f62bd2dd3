r"""Certainty of voxels and of windows, maps of one channel each, and its gradient; see ``normalised_convolution``."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from medconv.kernels.channels_last import count, depth_height_width
from medconv.kernels.triton_door import jit, tl

_VOXELS = 256
"""Voxels that one program works on."""


class Windows(Protocol):
    """How the windows of a convolution lie."""

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Taps per axis."""

    @property
    def stride(self) -> tuple[int, ...]:
        """Step per axis."""

    @property
    def padding(self) -> tuple[int, ...]:
        """Zeros on both sides per axis."""

    @property
    def dilation(self) -> tuple[int, ...]:
        """Distance of taps per axis."""

    @property
    def groups(self) -> int:
        """Groups of channels."""


def weigh(energy: Tensor, alpha: Tensor, contrast: Tensor, dtype: torch.dtype, most: float) -> Tensor:
    """``medconv.ops.edge_weight`` up to a factor, the same in all of a sample: the certainty of each voxel.

    Where float16 could overflow, the factor makes the largest certainty 1.

    Args:
        energy: ``(B, 1, *S)`` float32, contiguous.
        alpha: Exponent, scalar.
        contrast: ``κ``, scalar.
        dtype: Of the result.
        most: Largest squared contrast.
    """
    certainty = torch.empty_like(energy, dtype=dtype)
    narrow = dtype == torch.float16
    # the weight is monotone in the energy, so these two bound it
    extremes = torch.stack(torch.aminmax(energy.flatten(1), dim=1)) if narrow else energy
    voxels = count(tuple(energy.shape[2:]))
    _weigh[(-(-voxels // _VOXELS), len(energy))](
        energy, extremes, alpha, contrast, certainty, voxels, len(energy), most, NARROW=narrow, BLOCK=_VOXELS
    )
    return certainty


def sum_windows(
    certainty: Tensor, window: Windows, size: tuple[int, ...], partial: bool, empty: float
) -> tuple[Tensor, Tensor]:
    """The certainty of each window, and what it would be if all were certain, over it; float32.

    Args:
        certainty: ``(B, 1, *S)``, contiguous.
        window: How windows lie.
        size: Spatial size of the result.
        partial: Whether windows that reach outside are scaled up.
        empty: Smallest certainty of a window.
    """
    shape = (len(certainty), 1, *size)
    total, rescale = (torch.empty(shape, dtype=torch.float32, device=certainty.device) for _ in range(2))
    _sum_windows[(-(-total.numel() // _VOXELS),)](
        certainty, total, rescale, total.numel(), empty,
        *depth_height_width(tuple(certainty.shape[2:])), *depth_height_width(size), *_taps(window),
        PARTIAL=partial, BLOCK=_VOXELS,
    )  # fmt: skip
    return total, rescale


def certainty_gradient(
    gained: Tensor,
    lost: Tensor,
    energy: Tensor,
    certainty: Tensor,
    alpha: Tensor,
    contrast: Tensor,
    window: Windows,
    most: float,
) -> Tensor:
    """Gradients of exponent and contrast, two numbers, float32.

    Args:
        gained: What each voxel's certainty gains from its own vote, ``(B, 1, *S)`` float32.
        lost: What each window's certainty costs those in it, ``(B, 1, *S')`` float32.
        energy: As for ``weigh``.
        certainty: Its result.
        alpha: Exponent.
        contrast: ``κ``.
        window: How windows lie.
        most: Largest squared contrast.
    """
    number = -(-energy.numel() // _VOXELS)
    sums = torch.empty(2, number, dtype=torch.float32, device=energy.device)
    _certainty_gradient[(number,)](
        gained, lost, energy, certainty, alpha, contrast, sums, energy.numel(), most,
        *depth_height_width(tuple(energy.shape[2:])), *depth_height_width(tuple(lost.shape[2:])), *_taps(window),
        BLOCK=_VOXELS,
    )  # fmt: skip
    return sums.sum(1)


def _taps(window: Windows) -> tuple[int, ...]:
    """Taps, step, zeros and distance of taps, each along three axes."""
    sizes = (window.kernel_size, window.stride, window.padding, window.dilation)
    return tuple(n for size, one in zip(sizes, (1, 1, 0, 1), strict=True) for n in ((one,) * 3 + size)[-3:])


@jit
def _weigh(
    energy, extremes, alpha, contrast, out, N, samples, most, NARROW: tl.constexpr, BLOCK: tl.constexpr
):
    sample = tl.program_id(1).to(tl.int64)
    voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exponent = tl.load(alpha).to(tl.float32)
    kappa = tl.load(contrast).to(tl.float32)
    largest = 0.0
    if NARROW:
        low = tl.minimum(tl.load(extremes + sample) / (kappa * kappa), most)
        high = tl.minimum(tl.load(extremes + samples + sample) / (kappa * kappa), most)
        largest = tl.maximum(-exponent * tl.log(1 + low), -exponent * tl.log(1 + high))
    value = tl.load(energy + sample * N + voxel, mask=voxel < N, other=0.0)
    strength = tl.minimum(value / (kappa * kappa), most)
    tl.store(out + sample * N + voxel, tl.exp(-exponent * tl.log(1 + strength) - largest), mask=voxel < N)


@jit
def _sum_windows(
    certainty, total, rescale, windows, empty, D, H, W, OD, OH, OW,
    KD: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    PD: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, RD: tl.constexpr, RH: tl.constexpr, RW: tl.constexpr,
    PARTIAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    window = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    w = (window % OW) * SW - PW
    h = ((window // OW) % OH) * SH - PH
    d = ((window // (OW * OH)) % OD) * SD - PD
    sample = (window // (OW * OH * OD)).to(tl.int64)
    votes = tl.zeros((BLOCK,), tl.float32)
    places = tl.zeros((BLOCK,), tl.float32)
    for i in range(KD):
        for j in range(KH):
            for k in range(KW):
                z, y, x = d + i * RD, h + j * RH, w + k * RW
                inside = (z >= 0) & (z < D) & (y >= 0) & (y < H) & (x >= 0) & (x < W) & (window < windows)
                place = ((sample * D + z) * H + y) * W + x
                votes += tl.load(certainty + place, mask=inside, other=0.0).to(tl.float32)
                places += tl.where(inside, 1.0, 0.0)
    votes = tl.maximum(votes, empty)
    full = places * 0.0 + KD * KH * KW if PARTIAL else places
    tl.store(total + window, votes, mask=window < windows)
    tl.store(rescale + window, full / votes, mask=window < windows)


@jit
def _certainty_gradient(
    gained, lost, energy, certainty, alpha, contrast, sums, voxels, most, D, H, W, OD, OH, OW,
    KD: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    PD: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, RD: tl.constexpr, RH: tl.constexpr, RW: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Sums of the gradient of the exponent and of the contrast, one of each a program."""
    voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = voxel < voxels
    w = voxel % W + PW
    h = (voxel // W) % H + PH
    d = (voxel // (W * H)) % D + PD
    sample = (voxel // (W * H * D)).to(tl.int64)
    grad = tl.load(gained + voxel, mask=mask, other=0.0)
    for i in range(KD):
        for j in range(KH):
            for k in range(KW):
                z, y, x = d - i * RD, h - j * RH, w - k * RW
                inside = (z >= 0) & (y >= 0) & (x >= 0) & (z % SD == 0) & (y % SH == 0) & (x % SW == 0)
                inside = inside & (z // SD < OD) & (y // SH < OH) & (x // SW < OW) & mask
                place = ((sample * OD + z // SD) * OH + y // SH) * OW + x // SW
                grad -= tl.load(lost + place, mask=inside, other=0.0)
    exponent = tl.load(alpha).to(tl.float32)
    kappa = tl.load(contrast).to(tl.float32)
    ratio = tl.load(energy + voxel, mask=mask, other=0.0) / (kappa * kappa)
    strength = tl.minimum(ratio, most)
    grad *= tl.load(certainty + voxel, mask=mask, other=0.0).to(tl.float32)
    of_contrast = tl.where(ratio <= most, 2 * exponent * strength / ((1 + strength) * kappa), 0.0)
    tl.store(sums + tl.program_id(0), tl.sum(-grad * tl.log(1 + strength), 0))
    tl.store(sums + tl.num_programs(0) + tl.program_id(0), tl.sum(grad * of_contrast, 0))
