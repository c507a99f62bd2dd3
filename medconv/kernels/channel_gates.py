"""A gate a channel from the means of all of them, by a small perceptron: one kernel forwards, two backwards.

Its dozen of products, sums and bends are next to nothing to compute, but each is a kernel to start, and at the coarse
stages of a U-Net starting kernels is what takes the time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from medconv.kernels.instance_norm import Grid
from medconv.kernels.triton_door import jit, next_power_of_2, tl

_MOST_WEIGHTS = 32768
"""Of a layer, padded to powers of two: what one program holds in its registers."""
_PIECES_AT_ONCE = 8192
_CHANNELS_OF_A_PROGRAM = 32


class GatePerceptron(NamedTuple):
    r"""The weights of a gate :math:`g(W_2 \max(W_1 m + b_1, 0) + b_2)`.

    Args:
        hidden_weight: ``(H, C)``.
        hidden_bias: ``(H,)``.
        last_weight: ``(C, H)``.
        last_bias: ``(C,)``.
        centred: Whether ``g`` is ``2σ``; else it is ``σ``.

    Example:
        >>> gate = GatePerceptron(torch.ones(1, 2), torch.zeros(1), torch.zeros(2, 1), torch.zeros(2), True)
        >>> gate.of_means(torch.ones(1, 2))
        tensor([[1., 1.]])
    """

    hidden_weight: Tensor
    hidden_bias: Tensor
    last_weight: Tensor
    last_bias: Tensor
    centred: bool

    def fits(self, channels: int) -> bool:
        """Whether it is one of so many channels, of which a program can hold a layer."""
        hidden, known = self.hidden_weight.shape
        return known == channels and next_power_of_2(hidden) * next_power_of_2(channels) <= _MOST_WEIGHTS

    def of_means(self, means: Tensor) -> Tensor:
        """The gates of means ``(B, C)``, by PyTorch's own functions."""
        hidden = torch.nn.functional.linear(means, self.hidden_weight, self.hidden_bias).relu()
        gates = torch.nn.functional.linear(hidden, self.last_weight, self.last_bias).sigmoid()
        return 2 * gates if self.centred else gates


class Gates(NamedTuple):
    """What the backward pass needs of the gates; all ``(B, C)`` float32 but ``hidden``, ``(B, H)``.

    Args:
        slopes: Sum over space of the slope at each voxel.
        slopes_of_normed: Sum over space of the slope times the normalised value.
        means: Of what leaves the nonlinearity.
        factors: The gates.
        hidden: What leaves the hidden layer.
    """

    slopes: Tensor
    slopes_of_normed: Tensor
    means: Tensor
    factors: Tensor
    hidden: Tensor


class Passed(NamedTuple):
    """What the gradient of the map needs once it has been through the gates; all ``(B, C)`` float32.

    Args:
        every: Gradient of every voxel on the way through the means.
        sums: Sum over space of the gradient before the nonlinearity.
        products: Sum over space of its product with the normalised value.
    """

    every: Tensor
    sums: Tensor
    products: Tensor


def open_gates(pieces: Tensor, grid: Grid, weight: Tensor, bias: Tensor, gate: GatePerceptron) -> Gates:
    """The gates from the sums over pieces of slopes, and of slopes times normalised values.

    Args:
        pieces: ``(2, B, P, C)``, see ``Grid.pieces``.
        grid: How the map is divided.
        weight: ``(C,)``, of the norm.
        bias: ``(C,)``, of the norm.
        gate: The perceptron.
    """
    made = Gates(*_rows(4, grid, grid.channels), *_rows(1, grid, len(gate.hidden_bias)))
    _open_gates[(grid.batch,)](
        *pieces, weight, bias, *gate[:4], *made, grid.voxels, grid.channels, len(gate.hidden_bias), grid.number,
        CENTRED=gate.centred, **_blocks(grid, gate),
    )  # fmt: skip
    return made


def close_gates(
    pieces: Tensor, grid: Grid, weight: Tensor, bias: Tensor, gate: GatePerceptron, gates: Gates
) -> tuple[Passed, tuple[Tensor, ...]]:
    """Back through the gates, from the sums of the result's gradient before the nonlinearity.

    Args:
        pieces: Of these sums, and of those times the normalised values; ``(2, B, P, C)``.
        grid: See ``open_gates``.
        weight: See ``open_gates``.
        bias: See ``open_gates``.
        gate: See ``open_gates``.
        gates: As ``open_gates`` made them.

    Returns:
        What the map's gradient needs; and the gradients of the norm's scale and shift and of the four weights of the
        perceptron.
    """
    passed = Passed(*_rows(3, grid, grid.channels))
    (of_logits,), (of_hidden,) = _rows(1, grid, grid.channels), _rows(1, grid, len(gate.hidden_bias))
    numbers = (grid.voxels, grid.channels, len(gate.hidden_bias), grid.number)
    _close_gates[(grid.batch,)](
        *pieces, weight, bias, gate.hidden_weight, gate.last_weight, gates.slopes, gates.slopes_of_normed,
        gates.factors, gates.hidden, *passed, of_logits, of_hidden, *numbers,
        CENTRED=gate.centred, **_blocks(grid, gate),
    )  # fmt: skip
    gradients = tuple(torch.empty_like(t) for t in (weight, bias, *gate[:4]))
    _sum_weight_gradients[(-(-grid.channels // _CHANNELS_OF_A_PROGRAM),)](
        passed.sums, passed.products, of_logits, of_hidden, gates.means, gates.hidden, *gradients,
        *numbers[1:3], SAMPLES=grid.batch,
        BLOCK_C=_CHANNELS_OF_A_PROGRAM, BLOCK_H=next_power_of_2(len(gate.hidden_bias)),
    )  # fmt: skip
    return passed, gradients


def _rows(how_many: int, grid: Grid, width: int) -> tuple[Tensor, ...]:
    return torch.empty(how_many, grid.batch, width, dtype=torch.float32, device=grid.device).unbind()


def _blocks(grid: Grid, gate: GatePerceptron) -> dict[str, Any]:
    channels, hidden = next_power_of_2(grid.channels), next_power_of_2(len(gate.hidden_bias))
    at_once = min(next_power_of_2(grid.number), max(1, _PIECES_AT_ONCE // channels))
    return {
        "STEPS": -(-grid.number // at_once),
        "BLOCK_P": at_once,
        "BLOCK_C": channels,
        "BLOCK_H": hidden,
        "num_warps": min(16, max(4, channels * hidden // 1024)),
    }


@jit
def _totals(
    firsts, seconds, sample, cols, C, pieces, STEPS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr
):  # fmt: skip
    """Both numbers over all pieces of a sample; in fixed order, so every run gives the same bits."""
    first = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    second = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for step in range(STEPS):
        piece = step * BLOCK_P + tl.arange(0, BLOCK_P)
        mask = (piece < pieces)[:, None] & (cols < C)[None, :]
        place = (sample * pieces + piece)[:, None] * C + cols[None, :]
        first += tl.load(firsts + place, mask=mask, other=0.0)
        second += tl.load(seconds + place, mask=mask, other=0.0)
    return tl.sum(first, 0), tl.sum(second, 0)


@jit
def _open_gates(
    sums, products, weight, bias, hidden_weight, hidden_bias, last_weight, last_bias,
    slopes, slopes_of_normed, means, factors, hidden, N, C, H, pieces, CENTRED: tl.constexpr,
    STEPS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(0)
    cols, units = tl.arange(0, BLOCK_C), tl.arange(0, BLOCK_H)
    inside, alive = cols < C, units < H
    slope, of_normed = _totals(sums, products, sample, cols, C, pieces, STEPS, BLOCK_P, BLOCK_C)
    mean = of_normed * tl.load(weight + cols, mask=inside, other=0.0).to(tl.float32)
    mean = (mean + slope * tl.load(bias + cols, mask=inside, other=0.0).to(tl.float32)) / N
    tl.store(slopes + sample * C + cols, slope, mask=inside)
    tl.store(slopes_of_normed + sample * C + cols, of_normed, mask=inside)
    tl.store(means + sample * C + cols, mean, mask=inside)
    at = hidden_weight + units[:, None] * C + cols[None, :]
    w = tl.load(at, mask=alive[:, None] & inside[None, :], other=0.0).to(tl.float32)
    unit = tl.sum(w * mean[None, :], 1) + tl.load(hidden_bias + units, mask=alive, other=0.0).to(tl.float32)
    unit = tl.maximum(unit, 0.0)
    tl.store(hidden + sample * H + units, unit, mask=alive)
    at = last_weight + cols[:, None] * H + units[None, :]
    w = tl.load(at, mask=inside[:, None] & alive[None, :], other=0.0).to(tl.float32)
    logit = tl.sum(w * unit[None, :], 1) + tl.load(last_bias + cols, mask=inside, other=0.0).to(tl.float32)
    factor = 1.0 / (1.0 + tl.exp(-logit))
    most = 2.0 if CENTRED else 1.0
    tl.store(factors + sample * C + cols, most * factor, mask=inside)


@jit
def _close_gates(
    sums, products, weight, bias, hidden_weight, last_weight, slopes, slopes_of_normed, factors, hidden,
    every, passed_sums, passed_products, of_logits, of_hidden, N, C, H, pieces, CENTRED: tl.constexpr,
    STEPS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(0)
    cols, units = tl.arange(0, BLOCK_C), tl.arange(0, BLOCK_H)
    inside, alive = cols < C, units < H
    total, product = _totals(sums, products, sample, cols, C, pieces, STEPS, BLOCK_P, BLOCK_C)
    factor = tl.load(factors + sample * C + cols, mask=inside, other=0.0)
    of_factor = product * tl.load(weight + cols, mask=inside, other=0.0).to(tl.float32)
    of_factor += total * tl.load(bias + cols, mask=inside, other=0.0).to(tl.float32)
    most = 2.0 if CENTRED else 1.0
    of_logit = of_factor * factor * (1.0 - factor / most)
    tl.store(of_logits + sample * C + cols, of_logit, mask=inside)
    at = last_weight + cols[:, None] * H + units[None, :]
    w = tl.load(at, mask=inside[:, None] & alive[None, :], other=0.0).to(tl.float32)
    of_unit = tl.sum(w * of_logit[:, None], 0)
    of_unit = tl.where(tl.load(hidden + sample * H + units, mask=alive, other=0.0) > 0, of_unit, 0.0)
    tl.store(of_hidden + sample * H + units, of_unit, mask=alive)
    at = hidden_weight + units[:, None] * C + cols[None, :]
    w = tl.load(at, mask=alive[:, None] & inside[None, :], other=0.0).to(tl.float32)
    of_voxel = tl.sum(w * of_unit[:, None], 0) / N
    tl.store(every + sample * C + cols, of_voxel, mask=inside)
    total = total * factor + of_voxel * tl.load(slopes + sample * C + cols, mask=inside, other=0.0)
    tl.store(passed_sums + sample * C + cols, total, mask=inside)
    of_normed = tl.load(slopes_of_normed + sample * C + cols, mask=inside, other=0.0)
    tl.store(passed_products + sample * C + cols, product * factor + of_voxel * of_normed, mask=inside)


@jit
def _sum_weight_gradients(
    sums, products, of_logits, of_hidden, means, hidden,
    d_weight, d_bias, d_hidden_weight, d_hidden_bias, d_last_weight, d_last_bias, C, H,
    SAMPLES: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    cols, units = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C), tl.arange(0, BLOCK_H)
    inside, alive = cols < C, units < H
    scale = tl.zeros((BLOCK_C,), tl.float32)
    shift = tl.zeros((BLOCK_C,), tl.float32)
    last = tl.zeros((BLOCK_C,), tl.float32)
    first = tl.zeros((BLOCK_H,), tl.float32)
    last_weight = tl.zeros((BLOCK_C, BLOCK_H), tl.float32)
    first_weight = tl.zeros((BLOCK_H, BLOCK_C), tl.float32)
    for sample in range(SAMPLES):
        here, there = sample * C + cols, sample * H + units
        of_logit = tl.load(of_logits + here, mask=inside, other=0.0)
        of_unit = tl.load(of_hidden + there, mask=alive, other=0.0)
        scale += tl.load(products + here, mask=inside, other=0.0)
        shift += tl.load(sums + here, mask=inside, other=0.0)
        last += of_logit
        first += of_unit
        last_weight += of_logit[:, None] * tl.load(hidden + there, mask=alive, other=0.0)[None, :]
        first_weight += of_unit[:, None] * tl.load(means + here, mask=inside, other=0.0)[None, :]
    tl.store(d_weight + cols, scale, mask=inside)
    tl.store(d_bias + cols, shift, mask=inside)
    tl.store(d_last_bias + cols, last, mask=inside)
    if tl.program_id(0) == 0:
        tl.store(d_hidden_bias + units, first, mask=alive)
    at = d_last_weight + cols[:, None] * H + units[None, :]
    tl.store(at, last_weight, mask=inside[:, None] & alive[None, :])
    at = d_hidden_weight + units[:, None] * C + cols[None, :]
    tl.store(at, first_weight, mask=alive[:, None] & inside[None, :])
