r"""Tied convolution kernels written out, in the type and layout in which the convolution wants them.

A convolution under autocast copies its weight twice, into half precision and into its layout; a tied weight is
written once in the form that those copies would end in, so that tying costs a network next to nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medconv.kernels.channels_last import FORMATS, is_channels_last
from medconv.kernels.triton_door import is_usable, jit, next_power_of_2, tl

_ROWS, _TAPS = 64, 32
"""Pairs of channels, and taps, that one program writes."""


def tied_weight(
    theta: Tensor, basis: Tensor, kernel_size: tuple[int, ...], like: Tensor, dtype: torch.dtype
) -> Tensor | None:
    r"""The kernel that is a sum of basis kernels; ``None`` where the quick way is closed.

    .. math:: W[o, i, \delta] = \sum_m \theta[o, i, m] \, B_m[\delta]

    Args:
        theta: Coefficients, ``(O, I, M)`` float32.
        basis: Basis kernels, ``(M, prod(K))`` float32. Taps on which all of them agree get equal weights, bit by bit.
        kernel_size: ``K``.
        like: The map to convolve; the weight gets its layout.
        dtype: Type of the weight.

    Shape:
        - Output ``(O, I, *K)``.

    Cost:
        One kernel forwards and one backwards, each a pass over the weight.

    Example:
        >>> tied_weight(torch.ones(1, 1, 1), torch.ones(1, 9), (3, 3), torch.ones(1, 1, 5, 5), torch.float32) is None
        True
    """
    if not is_usable(theta) or theta.dtype != torch.float32 or not theta.is_contiguous():
        return None
    # Triton launches on the current device, whatever device its arguments are on
    with torch.cuda.device_of(theta):
        weight: Tensor = TiedWeight.apply(theta, basis, kernel_size, is_channels_last(like), dtype)
        return weight


class TiedWeight(torch.autograd.Function):
    """The quick way, and its gradient."""

    @staticmethod
    def forward(
        ctx: Any, theta: Tensor, basis: Tensor, kernel_size: tuple[int, ...], last: bool, dtype: torch.dtype
    ) -> Tensor:
        """See ``tied_weight``."""
        shape = (*theta.shape[:2], *kernel_size)
        layout = FORMATS[len(shape)] if last else torch.contiguous_format
        weight = torch.empty(shape, dtype=dtype, device=theta.device, memory_format=layout)
        taps = basis.shape[1]
        grid = (-(-theta[..., 0].numel() // _ROWS), -(-taps // _TAPS))
        _write[grid](
            theta, basis, weight, theta[..., 0].numel(), *_steps(weight, last),
            T=taps, M=theta.shape[2], BLOCK_R=_ROWS, BLOCK_T=_TAPS,
        )  # fmt: skip
        ctx.save_for_backward(basis)
        ctx.shape = theta.shape
        return weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Each coefficient gathers the gradients of all taps, weighted by its basis kernel."""
        (basis,) = ctx.saved_tensors
        grad = grads[0]
        last = not grad.is_contiguous()
        if last:
            grad = grad.contiguous(memory_format=FORMATS[grad.dim()])
        theta = torch.empty(ctx.shape, dtype=torch.float32, device=grad.device)
        rows = theta[..., 0].numel()
        _gather[(-(-rows // _ROWS),)](
            grad, basis, theta, rows, *_steps(grad, last),
            T=basis.shape[1], M=theta.shape[2], BLOCK_R=_ROWS, BLOCK_M=next_power_of_2(theta.shape[2]),
        )  # fmt: skip
        return theta, None, None, None, None


def _steps(weight: Tensor, last: bool) -> tuple[int, int, int, int]:
    """Inputs, and the distances in memory between outputs, inputs and taps."""
    inputs, taps = weight.shape[1], weight[0, 0].numel()
    return (inputs, inputs * taps, 1, inputs) if last else (inputs, inputs * taps, taps, 1)


@jit
def _write(
    theta, basis, weight, rows, inputs, step_o, step_i, step_t,
    T: tl.constexpr, M: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_T: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    tap = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    total = tl.zeros((BLOCK_T, BLOCK_R), tl.float32)
    for m in range(M):
        coefficient = tl.load(theta + row * M + m, mask=row < rows, other=0.0)
        value = tl.load(basis + m * T + tap, mask=tap < T, other=0.0)
        total += value[:, None] * coefficient[None, :]
    place = (row // inputs).to(tl.int64) * step_o + (row % inputs) * step_i
    mask = (tap < T)[:, None] & (row < rows)[None, :]
    tl.store(weight + place[None, :] + tap[:, None] * step_t, total, mask=mask)


@jit
def _gather(
    grad, basis, theta, rows, inputs, step_o, step_i, step_t,
    T: tl.constexpr, M: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    m = tl.arange(0, BLOCK_M)
    place = (row // inputs).to(tl.int64) * step_o + (row % inputs) * step_i
    total = tl.zeros((BLOCK_R, BLOCK_M), tl.float32)
    for tap in range(T):
        value = tl.load(grad + place + tap * step_t, mask=row < rows, other=0.0).to(tl.float32)
        weight = tl.load(basis + m * T + tap, mask=m < M, other=0.0)
        total += value[:, None] * weight[None, :]
    mask = (row < rows)[:, None] & (m < M)[None, :]
    tl.store(theta + row[:, None].to(tl.int64) * M + m[None, :], total, mask=mask)
