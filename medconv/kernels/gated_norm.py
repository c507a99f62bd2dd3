r"""Instance norm, leaky ReLU and a gate a channel in one: the gate costs one more read of the map, and none backwards.

With :math:`n` the normalised map, :math:`z = \phi(w n + b)`, means :math:`m` of :math:`z` over space and gates
:math:`g(m)`, the result is :math:`g z`. Its gradient :math:`d` reaches :math:`z` on two ways,
:math:`g d + \partial m / N`, and the second is one number a channel, known only when the gates' own gradient has been
back through :math:`g(\cdot)`. So the norm's node waits for it: it needs :math:`\sum \phi' d`, :math:`\sum \phi' d n`,
:math:`\sum \phi'` and :math:`\sum \phi' n`, which are gathered with :math:`\sum d z`, the gradient of the gate, in one
pass; the last pass writes the gradient of the map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medconv.kernels.channels_last import count, empty_like, is_channels_last, rows_of
from medconv.kernels.instance_norm import Grid, statistics
from medconv.kernels.triton_door import is_usable, jit, tl

_SUMS = 5


def gated_instance_norm_act(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    slope: float,
    gates_of_means: Callable[[Tensor], Tensor],
) -> Tensor | None:
    """``instance_norm_act`` times gates that are computed from its means; ``None`` where the quick way is closed.

    Args:
        x: The map, channels-last.
        weight: ``(C,)``.
        bias: ``(C,)``.
        eps: Added to the variance.
        slope: Of the negative half.
        gates_of_means: Takes the spatial means ``(B, C)`` float32 of what leaves the nonlinearity to ``(B, C)``
            factors, and passes their gradient on.

    Shape:
        - Input and output ``(B, C, *S)``.

    Cost:
        The map is read three times and written once, and read four times and written once for the gradient.

    Example:
        >>> x = torch.zeros(1, 2, 4, 4)
        >>> gated_instance_norm_act(x, torch.ones(2), torch.zeros(2), 1e-5, 0.01, lambda means: means) is None
        True
    """
    if not is_usable(x) or not is_channels_last(x) or count(x.shape[2:]) <= 1:
        return None
    # Triton launches on the current device, whatever device its arguments are on
    with torch.cuda.device_of(x):
        return through_gates(x, weight, bias, eps, slope, gates_of_means)


def through_gates(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    slope: float,
    gates_of_means: Callable[[Tensor], Tensor],
) -> Tensor:
    """The quick way by itself."""
    shared = _Shared()
    means = _Means.apply(x, weight, bias, eps, slope, shared)
    gates = gates_of_means(means)
    if means.requires_grad and not gates.requires_grad:
        raise RuntimeError(
            "expected gates that depend on the means, or the map would get no gradient; got constant ones"
        )
    y: Tensor = _Gated.apply(x, weight, bias, gates.float(), shared)
    return y


class _Shared:
    """What the two halves of the node tell each other."""

    grid: Grid
    mean: Tensor
    rstd: Tensor
    slope: float
    gates: Tensor
    grad: Tensor | None = None
    sums: Tensor | None = None


class _Means(torch.autograd.Function):
    """First half forwards, second half backwards: when it is called, ``_Gated.backward`` has been."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float, shared: _Shared
    ) -> Tensor:
        grid = shared.grid = Grid(x)
        shared.mean, shared.rstd = statistics(x, grid, eps)
        shared.slope = slope
        pieces = grid.pieces()
        _sum_bent[grid.of_pieces](
            x, shared.mean, shared.rstd, weight, bias, pieces, *grid.numbers, slope, **grid.piece
        )
        ctx.save_for_backward(x, weight, bias)
        ctx.shared = shared
        return pieces.sum(1) / grid.voxels

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        shared: _Shared = ctx.shared
        if shared.grad is None or shared.sums is None:
            raise RuntimeError("expected the gradient of the gated map before that of its means, got none")
        grid, (grad, pitch) = shared.grid, rows_of(shared.grad)
        every = (grads[0] / grid.voxels).contiguous()
        _, passed, product, kept, kept_product = shared.sums
        sum_grad = shared.gates * passed + every * kept
        sum_product = shared.gates * product + every * kept_product
        dx = empty_like(x)
        _gated_gradient[grid.of_tiles](
            x, grad, shared.mean, shared.rstd, weight, bias, shared.gates, every, sum_grad, sum_product, dx,
            grid.voxels, grid.channels, pitch, shared.slope, **grid.tile,
        )  # fmt: skip
        shared.grad = shared.sums = None
        return dx, sum_product.sum(0).to(weight.dtype), sum_grad.sum(0).to(bias.dtype), None, None, None


class _Gated(torch.autograd.Function):
    """Second half forwards, first half backwards; the gradient of the map leaves through ``_Means``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, gates: Tensor, shared: _Shared) -> Tensor:
        grid = shared.grid
        # detached: with its history it would hold this node, which holds it, for ever
        shared.gates = gates.detach().contiguous()
        y = empty_like(x)
        _normalise_gated[grid.of_tiles](
            x, shared.mean, shared.rstd, weight, bias, shared.gates, y,
            grid.voxels, grid.channels, shared.slope, **grid.tile,
        )  # fmt: skip
        ctx.save_for_backward(x, weight, bias)
        ctx.shared = shared
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        shared: _Shared = ctx.shared
        grid = shared.grid
        shared.grad, pitch = rows_of(grads[0])
        pieces = torch.empty(_SUMS, grid.batch, grid.number, grid.channels, device=x.device)
        _sum_gated[grid.of_pieces](
            x, shared.grad, shared.mean, shared.rstd, weight, bias, pieces, pieces[0].numel(), *grid.numbers, pitch,
            shared.slope, **grid.piece,
        )  # fmt: skip
        shared.sums = pieces.sum(2)
        return None, None, None, shared.sums[0], None


@jit
def _normed(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C):
    """The normalised values, what enters the nonlinearity, and the norm's scale."""
    inside = cols < C
    centre = tl.load(mean + sample * C + cols, mask=inside, other=0.0)
    inverse = tl.load(rstd + sample * C + cols, mask=inside, other=0.0)
    scale = tl.load(weight + cols, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + cols, mask=inside, other=0.0).to(tl.float32)
    place = (sample * N + rows[:, None]) * C + cols[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    normed = tl.where(mask, (value - centre[None, :]) * inverse[None, :], 0.0)
    return normed, normed * scale[None, :] + shift[None, :], scale * inverse


@jit
def _sum_bent(
    x, mean, rstd, weight, bias, sums, N, C, per_piece, slope,
    STEPS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    piece, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    start = piece * per_piece
    end = tl.minimum(start + per_piece, N)
    total = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    for step in range(STEPS):
        rows = start + step * BLOCK_N + tl.arange(0, BLOCK_N)
        mask = (rows < end)[:, None] & (cols < C)[None, :]
        _, z, _ = _normed(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
        total += tl.where(mask, tl.where(z > 0, z, z * slope), 0.0)
    tl.store(sums + (sample * tl.num_programs(0) + piece) * C + cols, tl.sum(total, 0), mask=cols < C)


@jit
def _normalise_gated(
    x, mean, rstd, weight, bias, gates, y, N, C, slope, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr
):
    tile, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    rows = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = (rows < N)[:, None] & (cols < C)[None, :]
    _, z, _ = _normed(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
    gate = tl.load(gates + sample * C + cols, mask=cols < C, other=0.0)
    place = (sample * N + rows[:, None]) * C + cols[None, :]
    tl.store(y + place, tl.where(z > 0, z, z * slope) * gate[None, :], mask=mask)


@jit
def _sum_gated(
    x, grad, mean, rstd, weight, bias, sums, apart, N, C, per_piece, pitch, slope,
    STEPS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    piece, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    start = piece * per_piece
    end = tl.minimum(start + per_piece, N)
    of_gate = tl.zeros((BLOCK_C,), tl.float32)
    passed = tl.zeros((BLOCK_C,), tl.float32)
    product = tl.zeros((BLOCK_C,), tl.float32)
    kept = tl.zeros((BLOCK_C,), tl.float32)
    kept_product = tl.zeros((BLOCK_C,), tl.float32)
    for step in range(STEPS):
        rows = start + step * BLOCK_N + tl.arange(0, BLOCK_N)
        mask = (rows < end)[:, None] & (cols < C)[None, :]
        normed, z, _ = _normed(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
        place = (sample * N + rows[:, None]) * pitch + cols[None, :]
        g = tl.load(grad + place, mask=mask, other=0.0).to(tl.float32)
        bent = tl.where(mask, tl.where(z > 0, 1.0, slope), 0.0)
        of_gate += tl.sum(g * z * bent, 0)
        passed += tl.sum(g * bent, 0)
        product += tl.sum(g * bent * normed, 0)
        kept += tl.sum(bent, 0)
        kept_product += tl.sum(bent * normed, 0)
    place = sums + (sample * tl.num_programs(0) + piece) * C + cols
    tl.store(place, of_gate, mask=cols < C)
    tl.store(place + apart, passed, mask=cols < C)
    tl.store(place + 2 * apart, product, mask=cols < C)
    tl.store(place + 3 * apart, kept, mask=cols < C)
    tl.store(place + 4 * apart, kept_product, mask=cols < C)


@jit
def _gated_gradient(
    x, grad, mean, rstd, weight, bias, gates, every, sums, products, dx, N, C, pitch, slope,
    BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    tile, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    rows = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = (rows < N)[:, None] & (cols < C)[None, :]
    normed, z, scale = _normed(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
    channel, inside = sample * C + cols, cols < C
    place = (sample * N + rows[:, None]) * pitch + cols[None, :]
    g = tl.load(grad + place, mask=mask, other=0.0).to(tl.float32)
    g = g * tl.load(gates + channel, mask=inside, other=0.0)[None, :]
    g = (g + tl.load(every + channel, mask=inside, other=0.0)[None, :]) * tl.where(z > 0, 1.0, slope)
    mean_grad = tl.load(sums + channel, mask=inside, other=0.0) / N
    mean_product = tl.load(products + channel, mask=inside, other=0.0) / N
    value = scale[None, :] * (g - mean_grad[None, :] - normed * mean_product[None, :])
    tl.store(dx + (sample * N + rows[:, None]) * C + cols[None, :], value, mask=mask)
