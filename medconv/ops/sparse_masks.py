"""Which weights of a sparse kernel stay: by size, by pattern, by channel, and by what the gradient asks for.

Source: Zhu & Gupta, "To Prune, or Not to Prune", 2017 (levels that rise); Evci et al., "Rigging the Lottery"
(RigL), ICML 2020; Mocanu et al., "Scalable Training of Artificial Neural Networks" (SET), 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from medconv.errors import ConfigError


def magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    """True at the ``round((1 - sparsity) numel)`` weights of largest size; exactly as many, ties or not.

    Args:
        weight: Any shape.
        sparsity: Share of weights to leave out, 0 up to, not including, 1.

    Example:
        >>> magnitude_mask(torch.tensor([[0.5, -2.0, 0.5, 0.5]]), 0.5).sum().item()
        2
    """
    size = weight.detach().abs().flatten()
    mask = torch.zeros_like(size, dtype=torch.bool)
    mask[size.topk(round((1 - sparsity) * size.numel())).indices] = True
    return mask.reshape(weight.shape)


def pattern_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """True at the ``n`` largest of every ``m`` consecutive input channels, for each output and tap.

    Args:
        weight: ``(O, I, *kernel)``, ``I`` divisible by ``m``.
        n: Weights that stay in each group.
        m: Input channels of a group.

    Example:
        >>> pattern_mask(torch.tensor([3.0, 1.0, 2.0, 0.0]).reshape(1, 4, 1, 1), 2, 4).flatten().tolist()
        [True, False, True, False]
    """
    grouped = weight.detach().abs().movedim(1, -1).unflatten(-1, (-1, m))
    kept = torch.zeros_like(grouped, dtype=torch.bool)
    kept.scatter_(-1, grouped.topk(n, dim=-1).indices, True)
    return kept.flatten(-2).movedim(-1, 1).contiguous()


def channel_mask(weight: Tensor, sparsity: float) -> Tensor:
    """True in the ``round((1 - sparsity) O)`` output channels, at least one, whose kernels are largest.

    Args:
        weight: ``(O, I, *kernel)``.
        sparsity: Share of output channels to leave out, 0 up to, not including, 1.
    """
    norms = weight.detach().flatten(1).norm(dim=1)
    kept = torch.zeros_like(norms, dtype=torch.bool)
    kept[norms.topk(max(1, round((1 - sparsity) * len(norms)))).indices] = True
    return kept.reshape(-1, *[1] * (weight.dim() - 1)).expand_as(weight).contiguous()


def regrow(weight: Tensor, mask: Tensor, score: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Drop the smallest kept weights and grow as many where the score is highest; the count stays.

    Args:
        weight: The dense weights.
        mask: Which are kept now.
        score: How much each place is wanted, such as the size of the dense gradient (RigL) or noise (SET).
        share: Share of the kept weights that is exchanged.

    Returns:
        The new mask, and where it grew: places that were not kept before. A dropped place may win its place
        back; it is then neither dropped nor grown.

    Example:
        >>> mask = torch.tensor([True, True, False, False])
        >>> score = torch.tensor([0.0, 0.0, 1.0, 9.0])
        >>> new, grown = regrow(torch.tensor([5.0, 0.1, 0.0, 0.0]), mask, score, 0.5)
        >>> new.tolist(), grown.tolist()
        ([True, False, False, True], [False, False, False, True])
    """
    flat = mask.flatten()
    number = int(share * int(flat.sum()))
    stays = torch.zeros_like(flat)
    size = weight.detach().abs().flatten().masked_fill(~flat, -1.0)
    stays[size.topk(int(flat.sum()) - number).indices] = True
    wanted = score.detach().float().flatten().masked_fill(stays, -torch.inf)
    new = stays.clone()
    new[wanted.topk(number).indices] = True
    return new.reshape(mask.shape), (new & ~flat).reshape(mask.shape)


def erdos_renyi_levels(shapes: Sequence[Sequence[int]], sparsity: float) -> list[float]:
    r"""Sparsity of each layer so that wide layers give more, and all together ``sparsity`` (ERK).

    .. math:: \text{density} \propto (O + I + \textstyle\sum k) \; / \; (O \cdot I \cdot \prod k)

    Args:
        shapes: Shape ``(O, I, *kernel)`` of each layer's weight.
        sparsity: Share of all weights to leave out, 0 up to, not including, 1.

    Raises:
        ConfigError: ``sparsity`` outside its range.

    Example:
        >>> [round(level, 2) for level in erdos_renyi_levels([(8, 4, 3, 3), (64, 64, 3, 3)], 0.9)]
        [0.0, 0.91]
    """
    check_sparsity(sparsity)
    sizes = [prod(shape) for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    dense: set[int] = set()
    while True:
        budget = (1 - sparsity) * sum(sizes) - sum(sizes[n] for n in dense)
        open_layers = [n for n in range(len(shapes)) if n not in dense]
        factor = budget / sum(raw[n] * sizes[n] for n in open_layers) if open_layers else 0.0
        full = {n for n in open_layers if factor * raw[n] > 1}
        if not full:
            return [0.0 if n in dense else 1 - factor * raw[n] for n in range(len(shapes))]
        dense |= full


def global_levels(weights: Sequence[Tensor], sparsity: float) -> list[float]:
    """Sparsity of each layer if the largest weights of all layers together stay; the count is exact.

    Args:
        weights: The dense weights of all layers.
        sparsity: Share of all weights to leave out, 0 up to, not including, 1.

    Raises:
        ConfigError: ``sparsity`` outside its range.
    """
    check_sparsity(sparsity)
    kept = magnitude_mask(torch.cat([w.detach().flatten() for w in weights]), sparsity)
    return [1 - float(part.sum()) / part.numel() for part in kept.split([w.numel() for w in weights])]


def check_sparsity(sparsity: float) -> float:
    """Return ``sparsity`` if it is a share that leaves something.

    Raises:
        ConfigError: It is negative, 1 or more, or no number.
    """
    if not 0 <= sparsity < 1:
        raise ConfigError(
            f"expected sparsity from 0 up to, not including, 1 (the share of weights that are left out), "
            f"got {sparsity}"
        )
    return sparsity
