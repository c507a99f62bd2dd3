"""Channel attention: turn whole channels up or down, from what each of them holds on average.

Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018; Wang et al., "ECA-Net: Efficient Channel
Attention", CVPR 2020; means and maxima together: Woo et al., "CBAM", ECCV 2018.
"""

from __future__ import annotations

from math import log2
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medconv.attention.base import Attention
from medconv.attention.gating import Gate, Perceptron, start_open, to_factors
from medconv.errors import ConfigError
from medconv.kernels import GatePerceptron
from medconv.ops import SymmetryGroup, full_group, full_precision

Kind = Literal["se", "eca"]
Squeeze = Literal["mean", "mean_max"]

_REDUCTION = 8


class ChannelAttention(Attention):
    r"""Multiply each channel by a gate that is computed from the means of all channels.

    .. math:: y_c = g(z_c) \, x_c, \qquad z = f\left(\mathrm{mean}_S \, x\right), \qquad
        g(z) = 2 \sigma(z) \;\text{or}\; \sigma(z)

    With ``kind="se"``, ``f`` is a perceptron with one hidden layer of ``max(channels // reduction, 4)``; with
    ``"eca"`` a convolution along the channel axis, so neighbouring channels must mean something together.

    Place it after the activation. The mean over space of what leaves an instance norm is the same for every
    input, so directly behind one the gate is a constant, and directly before one it is without effect.

    Args:
        kind: ``"se"`` (squeeze-and-excitation) or ``"eca"`` (efficient channel attention).
        reduction: Channels to a hidden unit; only for ``"se"``.
        gate: ``"centred"``, ``2σ`` with a last layer of zeros: the layer begins as the identity, bit by bit.
            ``"sigmoid"``, the published form, which begins by halving the signal.
        squeeze: What stands for a channel. ``"mean"``; or ``"mean_max"``, as in CBAM: ``f`` is applied to the
            means and to the maxima, and its results are added.

    Shape:
        - Input and output ``(B, channels, *S)``, any floating dtype; means are taken in float32.

    Raises:
        ConfigError: Unknown kind, gate or squeeze, a reduction below 1, or a reduction given for ``"eca"``.
        ShapeError: An input of another rank or channel count.

    Cost:
        Two passes over the feature map; ``2 * channels * hidden`` weights, or 3 to 7 for ``"eca"``.

    Example:
        >>> x = torch.rand(1, 16, 4, 8, 8)
        >>> torch.equal(ChannelAttention(3, 16)(x), x)
        True
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        *,
        kind: Kind = "se",
        reduction: int = _REDUCTION,
        gate: Gate = "centred",
        squeeze: Squeeze = "mean",
    ) -> None:
        super().__init__(spatial_dims, channels)
        if kind not in get_args(Kind) or gate not in get_args(Gate) or reduction < 1:
            raise ConfigError(
                f"expected kind 'se' or 'eca', gate 'centred' or 'sigmoid' and reduction from 1, "
                f"got {kind!r}, {gate!r}, {reduction}"
            )
        if kind == "eca" and reduction != _REDUCTION:
            raise ConfigError(f"reduction={reduction} has no effect with kind='eca'; leave it out")
        if squeeze not in get_args(Squeeze):
            raise ConfigError(f"expected squeeze 'mean' or 'mean_max', got {squeeze!r}")
        self.gate, self.squeeze = gate, squeeze
        self.sees_only_means = squeeze == "mean"
        self.excite = Perceptron(channels, reduction) if kind == "se" else _ChannelFilter(channels)
        start_open(self.excite.last, gate)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the channels of ``x`` by their gates."""
        gates = self.gates(x).to(x.dtype)
        return x * gates.view(*gates.shape, *[1] * self.spatial_dims)

    def gates(self, x: Tensor) -> Tensor:
        """The factors for each case and channel, ``(B, channels)``, in (0, 2) or (0, 1)."""
        self.check_input(x)
        space = tuple(range(2, x.dim()))
        # half precision holds neither the sum over a volume nor small differences between gates
        with full_precision(x):
            means = x.mean(dim=space, dtype=torch.promote_types(x.dtype, torch.float32))
            dtype = self.excite.last.weight.dtype
            logits = self.excite(means.to(dtype))
            if self.squeeze == "mean_max":
                logits = logits + self.excite(x.amax(dim=space).to(dtype))
            return to_factors(logits, self.gate)

    def gate_perceptron(self) -> GatePerceptron | None:
        """The weights that take the spatial means to the factors, where a perceptron of these means is all there is."""
        excite = self.excite
        if self.squeeze != "mean" or type(excite) is not Perceptron:
            return None
        first, last = excite.hidden, excite.last
        if type(first) is not nn.Linear or type(last) is not nn.Linear:  # replaced by something else
            return None
        if first.bias is None or last.bias is None:
            return None
        return GatePerceptron(first.weight, first.bias, last.weight, last.bias, self.gate == "centred")

    is_blind_to_places = True

    def symmetry(self) -> SymmetryGroup:
        """All of the grid: a mean over space does not change when voxels change places."""
        return full_group(self.spatial_dims)

    def extra_repr(self) -> str:
        """Channels and gate."""
        return f"{self.channels}, gate={self.gate}"


class _ChannelFilter(nn.Module):
    """Efficient channel attention: ``(B, C)`` to ``(B, C)``, each from its neighbours in channel order."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reach = int(abs(log2(channels) / 2 + 0.5))
        size = reach if reach % 2 else reach + 1
        self.last = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, means: Tensor) -> Tensor:
        return self.last(means[:, None]).squeeze(1)
