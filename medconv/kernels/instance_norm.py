r"""Instance norm and leaky ReLU in one: two passes over the map where PyTorch needs about eight.

The statistics are gathered in pieces about a value of each piece's own and merged as Chan, Golub & LeVeque do, so
that a mean far from zero costs no digits.

Source: Ulyanov et al., "Instance Normalization", 2016; Chan, Golub & LeVeque, "Algorithms for Computing the Sample
Variance", The American Statistician 1983.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from medconv.kernels.channels_last import channel_block, count, empty_like, is_channels_last, rows_of
from medconv.kernels.triton_door import is_usable, jit, next_power_of_2, tl

_TILE = 4096
"""Values that one program holds at a time."""

_PROGRAMS = 1024
"""Programs that keep a large GPU busy while they sum."""

_MOST_PIECES = 256


def instance_norm_act(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
    r"""Normalise each channel of each sample, scale and shift it, and bend what is negative.

    .. math:: y = \phi(w \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + b), \qquad \phi(z) = \max(z, 0) + s \min(z, 0)

    Args:
        x: The map.
        weight: ``(C,)``.
        bias: ``(C,)``.
        eps: Added to the variance.
        slope: Of the negative half: 0 is ReLU, 1 leaves the norm alone.

    Shape:
        - Input ``(B, C, *S)``, 2-D or 3-D.
        - Output the same, in the type and layout of the input.

    Cost:
        Where it is quick (a GPU, Triton, channels-last): the map is read twice and written once, and read four times
        and written once for the gradient; it keeps the input and two numbers a channel for that.

    Example:
        >>> x = torch.tensor([[[[1.0, 3.0]]]])
        >>> instance_norm_act(x, torch.ones(1), torch.zeros(1), eps=0.0, slope=0.1)
        tensor([[[[-0.1000,  1.0000]]]])
    """
    if is_usable(x) and is_channels_last(x) and count(x.shape[2:]) > 1:
        # Triton launches on the current device, whatever device its arguments are on
        with torch.cuda.device_of(x):
            normed: Tensor = InstanceNormAct.apply(x, weight, bias, eps, slope)
            return normed
    return plain_instance_norm_act(x, weight, bias, eps, slope)


def plain_instance_norm_act(x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
    """``instance_norm_act`` by PyTorch's own functions."""
    normed = F.instance_norm(x, weight=weight, bias=bias, eps=eps)
    return normed if slope == 1 else F.leaky_relu_(normed, slope)


class InstanceNormAct(torch.autograd.Function):
    """The quick way, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
        """See ``instance_norm_act``."""
        grid = Grid(x)
        mean, rstd = statistics(x, grid, eps)
        y = empty_like(x)
        _normalise[grid.of_tiles](
            x, mean, rstd, weight, bias, y, grid.voxels, grid.channels, slope, **grid.tile
        )
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the map, the scale and the shift."""
        x, weight, bias, mean, rstd = ctx.saved_tensors
        grid = Grid(x)
        grad, pitch = rows_of(grads[0])
        pieces = pieces_of_gradients(x, grad, pitch, mean, rstd, weight, bias, grid, ctx.slope)
        sum_grad, sum_product = grid.total(pieces)
        dx = empty_like(x)
        _gradient[grid.of_tiles](
            x, grad, mean, rstd, weight, bias, sum_grad, sum_product, dx,
            grid.voxels, grid.channels, pitch, ctx.slope, **grid.tile,
        )  # fmt: skip
        return dx, sum_product.sum(0).to(weight.dtype), sum_grad.sum(0).to(bias.dtype), None, None


def statistics(x: Tensor, grid: Grid, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation of each channel of each sample, ``(B, C)`` float32."""
    mean, rstd = (torch.empty(x.shape[:2], dtype=torch.float32, device=x.device) for _ in range(2))
    pieces = grid.pieces()
    _sum_pieces[grid.of_pieces](x, *pieces, *grid.numbers, **grid.piece)
    _merge[grid.of_channels](*pieces, mean, rstd, *grid.numbers, eps, grid.number, **grid.merge)
    return mean, rstd


def pieces_of_gradients(
    x: Tensor,
    grad: Tensor,
    pitch: int,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor,
    bias: Tensor,
    grid: Grid,
    slope: float,
) -> Tensor:
    """Sums of the gradient before the nonlinearity, and of its product with the normalised map; see ``Grid.pieces``."""
    pieces = grid.pieces()
    _sum_gradients[grid.of_pieces](
        x, grad, mean, rstd, weight, bias, *pieces, *grid.numbers, pitch, slope, **grid.piece
    )
    return pieces


class Grid:
    """How a map is divided among programs."""

    def __init__(self, x: Tensor) -> None:
        self.device, self.batch, self.channels = x.device, x.shape[0], x.shape[1]
        self.voxels = count(x.shape[2:])
        block = channel_block(self.channels)
        rows = max(_TILE // block, 1)
        blocks = -(-self.channels // block)
        wanted = max(1, _PROGRAMS // (self.batch * blocks))
        tiles = -(-self.voxels // rows)
        per_piece = -(-tiles // min(wanted, _MOST_PIECES, tiles)) * rows
        self.number = -(-self.voxels // per_piece)
        self.numbers = (self.voxels, self.channels, per_piece)
        self.tile = {"BLOCK_N": rows, "BLOCK_C": block}
        self.piece = {"STEPS": per_piece // rows, **self.tile}
        self.merge = {"BLOCK_P": next_power_of_2(self.number), "BLOCK_C": min(block, 32)}
        self.of_pieces = (self.number, blocks, self.batch)
        self.of_tiles = (tiles, blocks, self.batch)
        self.of_channels = (-(-self.channels // self.merge["BLOCK_C"]), self.batch)

    def pieces(self) -> Tensor:
        """Room for two numbers a piece and channel."""
        return torch.empty(2, self.batch, self.number, self.channels, dtype=torch.float32, device=self.device)

    def total(self, pieces: Tensor) -> tuple[Tensor, Tensor]:
        """Both numbers over all pieces, ``(B, C)``; in fixed order, so every run gives the same bits."""
        first, second = pieces.sum(2)
        return first, second


@jit
def _sum_pieces(
    x, means, squares, N, C, per_piece, STEPS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr
):
    piece, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    start = piece * per_piece
    end = tl.minimum(start + per_piece, N)
    x += sample * N * C
    about = tl.load(x + start.to(tl.int64) * C + cols, mask=cols < C, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    total_square = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    for step in range(STEPS):
        rows = start + step * BLOCK_N + tl.arange(0, BLOCK_N)
        mask = (rows < end)[:, None] & (cols < C)[None, :]
        value = tl.load(x + rows[:, None].to(tl.int64) * C + cols[None, :], mask=mask, other=0.0).to(
            tl.float32
        )
        away = tl.where(mask, value - about[None, :], 0.0)
        total += away
        total_square += away * away
    n = (end - start).to(tl.float32)
    away = tl.sum(total, 0)
    square = tl.sum(total_square, 0) - away * away / n
    place = (sample * tl.num_programs(0) + piece) * C + cols
    tl.store(means + place, about + away / n, mask=cols < C)
    tl.store(squares + place, square, mask=cols < C)


@jit
def _merge(
    means, squares, mean, rstd, N, C, per_piece, eps, pieces, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr
):
    block, sample = tl.program_id(0), tl.program_id(1)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    piece = tl.arange(0, BLOCK_P)
    mask = (piece < pieces)[:, None] & (cols < C)[None, :]
    place = (sample * pieces + piece)[:, None] * C + cols[None, :]
    of_piece = tl.load(means + place, mask=mask, other=0.0)
    square = tl.load(squares + place, mask=mask, other=0.0)
    n = tl.maximum(tl.minimum(N - piece * per_piece, per_piece), 0).to(tl.float32)[:, None]
    total = tl.sum(n * of_piece, 0) / N
    away = tl.where(mask, of_piece - total[None, :], 0.0)
    variance = tl.sum(square + n * away * away, 0) / N
    tl.store(mean + sample * C + cols, total, mask=cols < C)
    tl.store(rstd + sample * C + cols, 1.0 / tl.sqrt(variance + eps), mask=cols < C)


@jit
def _normalise(x, mean, rstd, weight, bias, y, N, C, slope, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr):
    tile, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    rows = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = (rows < N)[:, None] & (cols < C)[None, :]
    inside = cols < C
    scale = tl.load(rstd + sample * C + cols, mask=inside, other=0.0)
    scale = scale * tl.load(weight + cols, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + cols, mask=inside, other=0.0).to(tl.float32)
    centre = tl.load(mean + sample * C + cols, mask=inside, other=0.0)
    place = (sample * N + rows[:, None]) * C + cols[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    z = (value - centre[None, :]) * scale[None, :] + shift[None, :]
    tl.store(y + place, tl.where(z > 0, z, z * slope), mask=mask)


@jit
def normed_values(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C):
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
def _bent(x, grad, mean, rstd, weight, bias, sample, rows, cols, mask, N, C, pitch, slope):
    """The normalised values, and the gradient before the nonlinearity."""
    normed, z, scale = normed_values(x, mean, rstd, weight, bias, sample, rows, cols, mask, N, C)
    place = (sample * N + rows[:, None]) * pitch + cols[None, :]
    g = tl.load(grad + place, mask=mask, other=0.0).to(tl.float32)
    return normed, tl.where(z > 0, g, g * slope), scale


@jit
def _sum_gradients(
    x, grad, mean, rstd, weight, bias, sums, products, N, C, per_piece, pitch, slope,
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
        normed, g, _ = _bent(
            x, grad, mean, rstd, weight, bias, sample, rows, cols, mask, N, C, pitch, slope
        )  # fmt: skip
        total += g
        product += g * normed
    place = (sample * tl.num_programs(0) + piece) * C + cols
    tl.store(sums + place, tl.sum(total, 0), mask=cols < C)
    tl.store(products + place, tl.sum(product, 0), mask=cols < C)


@jit
def _gradient(
    x, grad, mean, rstd, weight, bias, sums, products, dx, N, C, pitch, slope,
    BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    tile, block, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
    rows = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    mask = (rows < N)[:, None] & (cols < C)[None, :]
    normed, g, scale = _bent(x, grad, mean, rstd, weight, bias, sample, rows, cols, mask, N, C, pitch, slope)
    mean_grad = tl.load(sums + sample * C + cols, mask=cols < C, other=0.0) / N
    mean_product = tl.load(products + sample * C + cols, mask=cols < C, other=0.0) / N
    value = scale[None, :] * (g - mean_grad[None, :] - normed * mean_product[None, :])
    tl.store(dx + (sample * N + rows[:, None]) * C + cols[None, :], value, mask=mask)
