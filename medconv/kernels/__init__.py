"""GPU kernels for maps in channels-last layout, each beside the plain PyTorch that it equals.

Every function here works everywhere: it takes the quick way where its rule says so (a GPU, Triton, channels-last)
and the plain one elsewhere. A convolution on tensor cores wants the channels of a voxel side by side; PyTorch's
norms, pooling and interpolation do not, and turn every map around and back.
"""

from __future__ import annotations

from medconv.kernels.channel_gates import GatePerceptron
from medconv.kernels.channels_last import concatenate, is_channels_last, to_channels_last, to_contiguous
from medconv.kernels.gated_norm import gated_instance_norm_act
from medconv.kernels.instance_norm import instance_norm_act
from medconv.kernels.max_pool import max_pool
from medconv.kernels.triton_door import HAS_TRITON
from medconv.kernels.upsample_linear import upsample_linear

__all__ = [
    "HAS_TRITON",
    "GatePerceptron",
    "concatenate",
    "gated_instance_norm_act",
    "instance_norm_act",
    "is_channels_last",
    "max_pool",
    "to_channels_last",
    "to_contiguous",
    "upsample_linear",
]
