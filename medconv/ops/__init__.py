"""Convolution operators, one file each; ``base`` holds the contract and ``check_conv`` examines it.

An operator takes ``(B, C, *S)`` to ``(B, C', *S')``. Its geometry (channels, kernel, stride) belongs to the
block that holds it; its character (symmetry group, exponent …) belongs to the configuration.
"""

from medconv.ops.base import ConvFactory, ConvOp, conv_catalogue
from medconv.ops.contract import Report, check_conv
from medconv.ops.fields import pool_fields, split_fields, turn_fields
from medconv.ops.gradient_weighted import GradientWeightedConv
from medconv.ops.group import GroupConv, LiftingConv
from medconv.ops.image_gradient import Derivative, gradient_energy
from medconv.ops.kernel_basis import KernelBasis, orbit_basis, ring_basis
from medconv.ops.normalised import edge_weight, window_sum
from medconv.ops.signed_permutation import Element
from medconv.ops.standard import StandardConv
from medconv.ops.symmetric import SymmetricConv
from medconv.ops.symmetry import (
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
    "Derivative",
    "Element",
    "GradientWeightedConv",
    "GroupConv",
    "KernelBasis",
    "LiftingConv",
    "Report",
    "StandardConv",
    "SymmetricConv",
    "SymmetryGroup",
    "act",
    "admissible",
    "check_conv",
    "conv_catalogue",
    "edge_weight",
    "full_group",
    "gradient_energy",
    "group_of",
    "named_group",
    "orbit_basis",
    "pool_fields",
    "ring_basis",
    "split_fields",
    "turn_fields",
    "window_sum",
]
