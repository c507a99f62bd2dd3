"""The 1×1 convolution that changes the number of channels and looks at no neighbour."""

from __future__ import annotations

from torch import nn

from medconv.ndim import CONV_MODULE

HE_SLOPE = 0.01
"""Slope of the leaky ReLU that He's initialisation is computed for, as in nnU-Net."""


def pointwise_conv(
    spatial_dims: int, in_channels: int, out_channels: int, *, bias: bool = True, gain: float = 1.0
) -> nn.Module:
    """A plain convolution with kernel 1, initialised as by ``he_init``; it commutes with every rotation.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the input.
        out_channels: ``C`` of the output.
        bias: Whether a constant is added to each output channel.
        gain: Size of the initial weights; 1 is He's.
    """
    conv = CONV_MODULE[spatial_dims](in_channels, out_channels, 1, bias=bias)
    he_init(conv, fan_in=in_channels, gain=gain)
    return conv


def he_init(conv: nn.Module, fan_in: int, gain: float = 1.0) -> None:
    """Fill a plain convolution with normal weights (He et al., ICCV 2015) and its bias with 0.

    Args:
        conv: Any plain convolution.
        fan_in: How many products are summed into one output value.
        gain: Size of the weights; 1 is He's.
    """
    assert isinstance(conv.weight, nn.Parameter)
    nn.init.normal_(conv.weight, std=gain * nn.init.calculate_gain("leaky_relu", HE_SLOPE) / fan_in**0.5)
    if isinstance(conv.bias, nn.Parameter):
        nn.init.zeros_(conv.bias)
