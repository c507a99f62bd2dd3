r"""Instance norm, leaky ReLU and a gate a channel in one: the gate costs one more read of the map, and none backwards.

With :math:`n` the normalised map, :math:`\phi'` the slope at each voxel and means :math:`m` of :math:`\phi(w n + b)`
over space, the result is :math:`g(m) \, \phi(w n + b)`. Its gradient :math:`d` reaches the nonlinearity on two ways,
:math:`g d + \partial m / N`, and the second is one number a channel, known only when the gate's own gradient has
been back through :math:`g(\cdot)`; so the norm's node waits for it. All sums over space come from four,
:math:`\sum \phi'`, :math:`\sum \phi' n`, :math:`\sum \phi' d` and :math:`\sum \phi' d n`, two of which the forward
pass knows: :math:`\sum \phi(w n + b) = w \sum \phi' n + b \sum \phi'`, and the same with :math:`d`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medconv.kernels.channels_last import count, empty_like, is_channels_last, rows_of
from medconv.kernels.instance_norm import Grid, statistics, sum_gradients
from medconv.kernels.triton_door import is_usable, jit, tl


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
    slopes: Tensor
    slopes_of_normed: Tensor
    gates: Tensor
    waits: bool
    """Whether the gradient of the map will be asked for."""
    task: int = -1
    """The backward pass that the next two are of."""
    grad: Tensor | None = None
    sums: tuple[Tensor, Tensor] | None = None


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
        _sum_slopes[grid.of_pieces](
            x, shared.mean, shared.rstd, weight, bias, *pieces, *grid.numbers, slope, **grid.piece
        )
        shared.slopes, shared.slopes_of_normed = grid.total(pieces)
        ctx.save_for_backward(x, weight, bias)
        ctx.shared = shared
        shared.waits = any(ctx.needs_input_grad[:3])
        return _scaled(shared.slopes_of_normed, weight, shared.slopes, bias) / grid.voxels

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        shared: _Shared = ctx.shared
        grid = shared.grid
        every = (grads[0] / grid.voxels).contiguous()
        if shared.grad is not None and shared.sums is not None and shared.task == _current_task():
            (grad, pitch), gates, (passed, product) = rows_of(shared.grad), shared.gates, shared.sums
        else:  # somebody asks for the gradient of the gates alone: the gated map has none, here as nought times x
            grad, pitch = x, grid.channels
            gates = passed = product = torch.zeros_like(shared.gates)
        sum_grad = _scaled(passed, gates, every, shared.slopes)
        sum_product = _scaled(product, gates, every, shared.slopes_of_normed)
        dx = empty_like(x)
        _gated_gradient[grid.of_tiles](
            x, grad, shared.mean, shared.rstd, weight, bias, gates, every, sum_grad, sum_product, dx,
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
        grad, pitch = rows_of(grads[0])
        passed, product = sum_gradients(
            x, grad, pitch, shared.mean, shared.rstd, weight, bias, shared.grid, shared.slope
        )
        if shared.waits:
            shared.grad, shared.sums, shared.task = grad, (passed, product), _current_task()
        return None, None, None, _scaled(product, weight, passed, bias), None


def _current_task() -> int:
    """A number of the backward pass that is under way."""
    return int(torch._C._current_graph_task_id())


def _scaled(x: Tensor, by: Tensor, y: Tensor, by_too: Tensor) -> Tensor:
    """``x * by + y * by_too`` in two small kernels."""
    return torch.addcmul(x * by, y, by_too)


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
        normed, z, _ = _normed(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
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
    _, z, _ = _normed(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
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
