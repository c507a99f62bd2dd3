"""Self-attention between all voxels of a small map, such as a U-Net's coarsest.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017; Wang et al., "Non-local Neural Networks",
CVPR 2018 (in a convolutional network); Xiong et al., "On Layer Normalization in the Transformer
Architecture", ICML 2020 (norm first).
"""

from __future__ import annotations

from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from medconv.attention.base import Attention
from medconv.errors import ConfigError, ShapeError
from medconv.ops import SymmetryGroup, full_group

MAX_TOKENS = 8192
"""About 20³ voxels: there the products of all pairs still cost no more than a few convolutions."""

_HEAD_CHANNELS = (64, 32, 16, 8)
"""Wanted channels a head, best first: multiples of 8, as fused kernels ask for."""


class SelfAttention(Attention):
    r"""Add to each voxel a mean over all voxels, weighted by how well their features match its own.

    .. math:: y = x + P \, \mathrm{softmax}\!\left(\frac{Q K^T}{\sqrt{d}}\right) V, \qquad
        [Q, K, V] = A \; \mathrm{LayerNorm}(x)

    Use it at the coarsest stage, where a convolution's window is small against the organ: the list
    ``attention: [null, null, SelfAttention]`` says so in a configuration. There are no position codes, so the
    layer commutes with every exchange of voxels, and with every rotation. ``P`` begins at zero, so the layer
    begins as the identity.

    Args:
        heads: Parts of the channels that attend by themselves; ``None``: as many as give 64 channels each, or
            32, 16, 8, whichever first divides ``channels``; one if none does.
        max_tokens: Most voxels of a map. The products grow with their square: 4096 voxels and 320 channels
            cost 21 billion multiply-adds, 32768 voxels 1.4 thousand billion.

    Shape:
        - Input and output ``(B, channels, *S)``, any floating dtype.

    Raises:
        ConfigError: ``heads`` does not divide ``channels``, or ``max_tokens`` is below 1.
        ShapeError: An input of another rank or channel count, or with more voxels than ``max_tokens``.

    Cost:
        ``4 L channels² + 2 L² channels`` multiply-adds for ``L`` voxels; memory linear in ``L`` where PyTorch
        has a fused kernel.

    Example:
        >>> import torch
        >>> x = torch.rand(1, 16, 2, 4, 4)
        >>> torch.equal(SelfAttention(3, 16)(x), x)
        True
    """

    is_blind_to_places = True

    def __init__(
        self, spatial_dims: int, channels: int, *, heads: int | None = None, max_tokens: int = MAX_TOKENS
    ) -> None:
        super().__init__(spatial_dims, channels)
        if heads is not None and (heads < 1 or channels % heads):
            raise ConfigError(f"expected heads that divide {channels} channels, got {heads}")
        if max_tokens < 1:
            raise ConfigError(f"expected max_tokens from 1, got {max_tokens}")
        self.heads = heads or next((channels // c for c in _HEAD_CHANNELS if channels % c == 0), 1)
        self.max_tokens = max_tokens
        self.norm = nn.LayerNorm(channels)
        self.project_in = nn.Linear(channels, 3 * channels)
        self.project_out = nn.Linear(channels, channels)
        for parameter in self.project_out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Add to each voxel of ``x`` what it attends to."""
        self.check_input(x)
        tokens = prod(x.shape[2:])
        if tokens > self.max_tokens:
            raise ShapeError(
                f"SelfAttention: expected at most {self.max_tokens} voxels, got {tokens} from "
                f"{tuple(x.shape[2:])}; put it at a coarser stage only, or raise max_tokens (the products grow "
                "with the square)"
            )
        # norms and projections run in what autocast chooses; the residual stays in the dtype of x
        parts = self.project_in(self.norm(x.flatten(2).mT)).chunk(3, dim=-1)
        query, key, value = map(self._split, parts)
        mixed = F.scaled_dot_product_attention(query, key, value)
        added = self.project_out(mixed.transpose(1, 2).flatten(2))
        return x + added.mT.reshape(x.shape).to(x.dtype)

    def symmetry(self) -> SymmetryGroup:
        """All of the grid: without position codes, voxels are a set."""
        return full_group(self.spatial_dims)

    def extra_repr(self) -> str:
        """Channels and heads."""
        return f"{self.channels}, heads={self.heads}"

    def _split(self, x: Tensor) -> Tensor:
        """``(B, L, C)`` to ``(B, heads, L, C / heads)``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
