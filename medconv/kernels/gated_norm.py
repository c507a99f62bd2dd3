r"""Instance norm, leaky ReLU and a gate a channel in one: the gate costs one more read of the map, and none backwards.

With :math:`n` the normalised map, :math:`\phi'` the slope at each voxel and means :math:`m` of :math:`\phi(w n + b)`
over space, the result is :math:`g(m) \, \phi(w n + b)`. Its gradient :math:`d` reaches the nonlinearity on two ways,
:math:`g d + \partial m / N`, and the second is one number a channel. All sums over space come from four,
:math:`\sum \phi'`, :math:`\sum \phi' n`, :math:`\sum \phi' d` and :math:`\sum \phi' d n`, two of which the forward
pass knows: :math:`\sum \phi(w n + b) = w \sum \phi' n + b \sum \phi'`, and the same with :math:`d`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medconv.kernels.channel_gates import GatePerceptron, Gates, close_gates, open_gates
from medconv.kernels.channels_last import count, empty_like, is_channels_last, rows_of
from medconv.kernels.instance_norm import Grid, normed_values, pieces_of_gradients, statistics
from medconv.kernels.triton_door import is_usable, jit, tl


def gated_instance_norm_act(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float, gate: GatePerceptron
) -> Tensor | None:
    """``instance_norm_act`` times gates that are computed from its means; ``None`` where the quick way is closed.

    Args:
        x: The map, channels-last.
        weight: ``(C,)``.
        bias: ``(C,)``.
        eps: Added to the variance.
        slope: Of the negative half.
        gate: Takes the spatial means of what leaves the nonlinearity to a factor for each channel.

    Shape:
        - Input and output ``(B, C, *S)``.

    Cost:
        The map is read three times and written once, and read four times and written once for the gradient.

    Example:
        >>> x, one, zero = torch.zeros(1, 1, 4, 4), torch.ones(1), torch.zeros(1)
        >>> gate = GatePerceptron(one[None], zero, zero[None], zero, centred=True)
        >>> gated_instance_norm_act(x, one, zero, 1e-5, 0.01, gate) is None
        True
    """
    is_dense = is_usable(x) and is_channels_last(x) and count(x.shape[2:]) > 1
    if not is_dense or not gate.fits(x.shape[1]):
        return None
    # Triton launches on the current device, whatever device its arguments are on
    with torch.cuda.device_of(x):
        gated: Tensor = GatedInstanceNormAct.apply(x, weight, bias, *gate, eps, slope)
        return gated


class GatedInstanceNormAct(torch.autograd.Function):
    """The quick way, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
        """See ``gated_instance_norm_act``; the gate's entries are given one by one."""
        *weights, centred, eps, slope = rest
        gate = _gate(weights, centred)
        grid = Grid(x)
        mean, rstd = statistics(x, grid, eps)
        pieces = grid.pieces()
        _sum_slopes[grid.of_pieces](x, mean, rstd, weight, bias, *pieces, *grid.numbers, slope, **grid.piece)
        gates = open_gates(pieces, grid, weight, bias, gate)
        y = empty_like(x)
        _normalise_gated[grid.of_tiles](
            x, mean, rstd, weight, bias, gates.factors, y, grid.voxels, grid.channels, slope, **grid.tile
        )
        ctx.save_for_backward(x, weight, bias, mean, rstd, *gate[:4], *gates)
        ctx.centred, ctx.slope = centred, slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the map, the norm's scale and shift, and the gate's weights."""
        x, weight, bias, mean, rstd, *rest = ctx.saved_tensors
        gate, gates = _gate(rest[:4], ctx.centred), Gates(*rest[4:])
        grid = Grid(x)
        grad, pitch = rows_of(grads[0])
        pieces = pieces_of_gradients(x, grad, pitch, mean, rstd, weight, bias, grid, ctx.slope)
        passed, gradients = close_gates(pieces, grid, weight, bias, gate, gates)
        dx = empty_like(x)
        _gated_gradient[grid.of_tiles](
            x, grad, mean, rstd, weight, bias, gates.factors, *passed, dx,
            grid.voxels, grid.channels, pitch, ctx.slope, **grid.tile,
        )  # fmt: skip
        return dx, *gradients, None, None, None


def _gate(weights: Sequence[Tensor], centred: bool) -> GatePerceptron:
    first, first_bias, last, last_bias = (weight.contiguous() for weight in weights)
    return GatePerceptron(first, first_bias, last, last_bias, centred)


@jit
def _sum_slopes(
    x, mean, rstd, weight, bias, sums, products, N, C, per_piece, slope,
    STEPS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    piece, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    start = piece * per_piece
    end = tl.minimum(start + per_piece, N)
    total = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    product = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    for step in range(STEPS):
        rows = start + step * BLOCK_N + tl.arange(0, BLOCK_N)
        mask = (rows < end)[:, None] & (cols < C)[None, :]
        normed, z, _ = normed_values(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
        bent = tl.where(mask, tl.where(z > 0, 1.0, slope), 0.0)
        total += bent
        product += bent * normed
    place = (sample * tl.num_programs(0) + piece) * C + cols
    tl.store(sums + place, tl.sum(total, 0), mask=cols < C)
    tl.store(products + place, tl.sum(product, 0), mask=cols < C)


@jit
def _normalise_gated(
    x, mean, rstd, weight, bias, gates, y, N, C, slope, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr
):
    tile, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    rows = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = (rows < N)[:, None] & (cols < C)[None, :]
    _, z, _ = normed_values(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
    gate = tl.load(gates + sample * C + cols, mask=cols < C, other=0.0)
    place = (sample * N + rows[:, None]) * C + cols[None, :]
    tl.store(y + place, tl.where(z > 0, z, z * slope) * gate[None, :], mask=mask)


@jit
def _gated_gradient(
    x, grad, mean, rstd, weight, bias, gates, every, sums, products, dx, N, C, pitch, slope,
    BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    tile, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    rows = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = (rows < N)[:, None] & (cols < C)[None, :]
    normed, z, scale = normed_values(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
    channel, inside = sample * C + cols, cols < C
    place = (sample * N + rows[:, None]) * pitch + cols[None, :]
    g = tl.load(grad + place, mask=mask, other=0.0).to(tl.float32)
    g = g * tl.load(gates + channel, mask=inside, other=0.0)[None, :]
    g = (g + tl.load(every + channel, mask=inside, other=0.0)[None, :]) * tl.where(z > 0, 1.0, slope)
    mean_grad = tl.load(sums + channel, mask=inside, other=0.0) / N
    mean_product = tl.load(products + channel, mask=inside, other=0.0) / N
    value = scale[None, :] * (g - mean_grad[None, :] - normed * mean_product[None, :])
    tl.store(dx + (sample * N + rows[:, None]) * C + cols[None, :], value, mask=mask)
