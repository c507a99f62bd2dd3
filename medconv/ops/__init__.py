"""Convolution operators, one file each; ``base`` holds the contract and ``check_conv`` examines it.

An operator takes ``(B, C, *S)`` to ``(B, C', *S')``. Its geometry (channels, kernel, stride) belongs to the
block that holds it; its character (symmetry group, exponent …) belongs to the configuration.
"""

from medconv.ops.base import ConvFactory, ConvOp, conv_catalogue
from medconv.ops.standard import StandardConv
from medconv.ops.symmetry import (
    Element,
    SymmetryGroup,
    act,
    admissible,
    full_group,
    group_of,
    named_group,
)

__all__ = [
    "ConvFactory",
    "ConvOp",
    "Element",
    "StandardConv",
    "SymmetryGroup",
    "act",
    "admissible",
    "conv_catalogue",
    "full_group",
    "group_of",
    "named_group",
]
