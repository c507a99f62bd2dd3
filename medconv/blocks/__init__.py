"""Blocks: what stands at one resolution of a network, and the ways between resolutions.

A ``ConvUnit`` is convolution, norm, nonlinearity, attention and dropout; a ``Block`` is several units; an
``Encoder`` and a ``Decoder`` are blocks with sampling between them. Blocks take any convolution that fits
``ConvFactory``.
"""

from medconv.blocks.activation import ActivationName, build_activation
from medconv.blocks.base import Block, BlockFactory
from medconv.blocks.decoder import Decoder
from medconv.blocks.encoder import Encoder
from medconv.blocks.mednext import MedNeXtBlock
from medconv.blocks.normalisation import NormName, build_norm
from medconv.blocks.on_fields import OnFields, PoolFields, on_fields
from medconv.blocks.plain import PlainBlock
from medconv.blocks.pointwise import he_init, pointwise_conv
from medconv.blocks.residual import ResidualBlock
from medconv.blocks.resolution import coarser_guide, coarser_spacing, guide_pyramid
from medconv.blocks.sampling import Downsample, DownsampleName, PoolName, Upsample, UpsampleName
from medconv.blocks.stage import Stage
from medconv.blocks.unit import ConvUnit

__all__ = [
    "ActivationName",
    "Block",
    "BlockFactory",
    "ConvUnit",
    "Decoder",
    "Downsample",
    "DownsampleName",
    "Encoder",
    "MedNeXtBlock",
    "NormName",
    "OnFields",
    "PlainBlock",
    "PoolFields",
    "PoolName",
    "ResidualBlock",
    "Stage",
    "Upsample",
    "UpsampleName",
    "build_activation",
    "build_norm",
    "coarser_guide",
    "coarser_spacing",
    "guide_pyramid",
    "he_init",
    "on_fields",
    "pointwise_conv",
]
