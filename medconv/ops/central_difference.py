"""Central difference convolution: how the neighbours differ from the centre, beside how bright they are.

Source: Yu et al., "Searching Central Difference Convolutional Networks for Face Anti-Spoofing", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.ops.standard import StandardConv
from medconv.types import IntOrInts


class CentralDifferenceConv(StandardConv):
    r"""Convolution that sees, to the share ``θ``, only differences to the centre voxel.

    .. math:: y = W * x - \theta \Big(\sum_\delta W[\delta]\Big) x_{\text{centre}} + b
        = W' * x + b, \qquad W' = W - \theta \Big(\sum_\delta W[\delta]\Big) e_{\text{centre}}

    ``θ = 0`` is the plain convolution; ``θ = 1`` answers 0 wherever the image is constant (inside the volume:
    at the border the padding is an edge). It is computed as the single kernel ``W'``, so that the bias is
    counted once; code that runs two convolutions with one bias adds ``(1 - θ) b`` instead.

    Use it where texture and fine edges matter more than absolute intensity (scanner offsets, uneven
    illumination). Not where the grey value itself tells the tissue (CT), nor in strong noise: it is a high
    pass, and white noise passes stronger by the factor ``1 - 2θ / taps + θ²``.

    Args:
        theta: Share ``θ`` of the difference, 0 to 1.
        learnable: Whether each layer learns its own ``θ``, as a sigmoid: it starts at ``theta``, which must
            then lie strictly between 0 and 1, and never reaches either.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))``.

    Raises:
        ConfigError: ``theta`` outside its range, an even kernel (it has no centre), or ``theta = 1`` with a
            kernel of one voxel (which differs from itself by 0).

    Cost:
        That of ``StandardConv`` plus one sum over the kernel a pass; ``fold`` saves the latter.

    Example:
        >>> conv = CentralDifferenceConv(2, 1, 1, theta=1.0)
        >>> flat = torch.full((1, 1, 5, 5), 7.0)
        >>> bool(conv(flat)[..., 2, 2].abs() < 1e-5)
        True
    """

    neutral: ClassVar[dict[str, Any] | None] = {"theta": 0.0}

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts = 3,
        *,
        stride: IntOrInts = 1,
        dilation: IntOrInts = 1,
        groups: int = 1,
        bias: bool = True,
        spacing_mm: Sequence[float] | None = None,
        theta: float = 0.7,
        learnable: bool = False,
    ) -> None:
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            spacing_mm=spacing_mm,
        )
        _check_theta(theta, learnable, self.kernel_size)
        self.fixed_theta = None if learnable else theta
        self.rho_theta = nn.Parameter(torch.tensor(log(theta / (1 - theta)))) if learnable else None
        # white noise comes out as strong as from StandardConv
        gain = 1 - 2 * theta / prod(self.kernel_size) + theta**2
        with torch.no_grad():
            self.weight.div_(gain**0.5)

    @property
    def theta(self) -> Tensor | float:
        """Share of the difference, 0 to 1; a scalar tensor where it is learned."""
        return self.fixed_theta if self.rho_theta is None else torch.sigmoid(self.rho_theta)  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` with ``W'``."""
        return self.convolve(x, self.dense_weight())

    def dense_weight(self) -> Tensor:
        """The kernel ``W'``: that of the weight with its sum subtracted, to the share ``θ``, at the centre."""
        if self.fixed_theta == 0:
            return self.weight
        axes = tuple(range(2, self.weight.dim()))
        return self.weight - self.theta * self.weight.sum(dim=axes, keepdim=True) * self._centre

    def extra_repr(self) -> str:
        """Geometry and character."""
        theta = "learned" if self.fixed_theta is None else self.fixed_theta
        return f"{super().extra_repr()}, theta={theta}"

    @property
    def _centre(self) -> Tensor:
        """1 at the middle tap, 0 elsewhere."""
        taps = prod(self.kernel_size)
        places = torch.arange(taps, device=self.weight.device).reshape(self.kernel_size)
        return (places == taps // 2).to(self.weight.dtype)


def _check_theta(theta: float, learnable: bool, kernel_size: tuple[int, ...]) -> None:
    if not 0 <= theta <= 1 or (learnable and theta in (0, 1)):
        span = "strictly between 0 and 1 (it is a sigmoid)" if learnable else "from 0 to 1"
        raise ConfigError(f"expected theta {span}, got {theta}")
    if any(k % 2 == 0 for k in kernel_size):
        raise ConfigError(f"expected odd kernel sizes, which have a centre voxel, got {kernel_size}")
    if theta == 1 and prod(kernel_size) == 1:
        raise ConfigError("expected theta below 1 for a kernel of one voxel, got 1: it would always answer 0")
