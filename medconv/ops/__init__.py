"""Convolution operators, one file each; ``base`` holds the contract and ``check_conv`` examines it.

An operator takes ``(B, C, *S)`` to ``(B, C', *S')``. Its geometry (channels, kernel, stride) belongs to the
block that holds it; its character (symmetry group, exponent …) belongs to the configuration.
"""

from medconv.ops.asymmetric import AsymmetricConv
from medconv.ops.base import ConvFactory, ConvOp, conv_catalogue
from medconv.ops.central_difference import CentralDifferenceConv
from medconv.ops.contract import Report, check_conv
from medconv.ops.dilated import DilatedConv, GriddingWarning, dilation_coverage
from medconv.ops.dynamic import DynamicConv
from medconv.ops.factorised import FactorisedConv
from medconv.ops.fields import pool_fields, split_fields, turn_fields
from medconv.ops.gradient_weighted import GradientWeightedConv
from medconv.ops.group import GroupConv, LiftingConv
from medconv.ops.image_gradient import Derivative, gradient_energy
from medconv.ops.kernel_basis import KernelBasis, orbit_basis, ring_basis
from medconv.ops.large_kernel import LargeKernelConv, grow_kernel
from medconv.ops.morphological import MorphologicalConv
from medconv.ops.normalised import edge_weight, window_sum
from medconv.ops.precision import convolution_dtype, full_precision
from medconv.ops.separable import SeparableConv
from medconv.ops.signed_permutation import Element
from medconv.ops.sparse import SparseConv
from medconv.ops.sparse_masks import (
    channel_mask,
    check_sparsity,
    erdos_renyi_levels,
    global_levels,
    magnitude_mask,
    pattern_mask,
    regrow,
)
from medconv.ops.standard import StandardConv
from medconv.ops.summary import OperatorSummary, markdown_table, summarise
from medconv.ops.symmetric import SymmetricConv
from medconv.ops.symmetry import (
    SymmetryGroup,
    act,
    admissible,
    full_group,
    group_of,
    named_group,
)
from medconv.ops.threshold_sparse import ThresholdSparseConv

__all__ = [
    "AsymmetricConv",
    "CentralDifferenceConv",
    "ConvFactory",
    "ConvOp",
    "Derivative",
    "DilatedConv",
    "DynamicConv",
    "Element",
    "FactorisedConv",
    "GradientWeightedConv",
    "GriddingWarning",
    "GroupConv",
    "KernelBasis",
    "LargeKernelConv",
    "LiftingConv",
    "MorphologicalConv",
    "OperatorSummary",
    "Report",
    "SeparableConv",
    "SparseConv",
    "StandardConv",
    "SymmetricConv",
    "SymmetryGroup",
    "ThresholdSparseConv",
    "act",
    "admissible",
    "channel_mask",
    "check_conv",
    "check_sparsity",
    "conv_catalogue",
    "convolution_dtype",
    "dilation_coverage",
    "edge_weight",
    "erdos_renyi_levels",
    "full_group",
    "full_precision",
    "global_levels",
    "gradient_energy",
    "group_of",
    "grow_kernel",
    "magnitude_mask",
    "markdown_table",
    "named_group",
    "orbit_basis",
    "pattern_mask",
    "pool_fields",
    "regrow",
    "ring_basis",
    "split_fields",
    "summarise",
    "turn_fields",
    "window_sum",
]
