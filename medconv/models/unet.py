"""U-Net with any convolution at any stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from medconv.attention import AttentionFactory, SkipAttentionFactory
from medconv.blocks import (
    ActivationName,
    BlockFactory,
    ConvUnit,
    Decoder,
    DownsampleName,
    Encoder,
    NormName,
    PlainBlock,
    Stage,
    UpsampleName,
    guide_pyramid,
)
from medconv.errors import ConfigError
from medconv.models.base import SegmentationModel
from medconv.models.edge_guide import EdgeGuide
from medconv.models.group_network import common_orientations
from medconv.models.heads import SegmentationHeads
from medconv.models.padding import PadToDivisor
from medconv.models.topology import plan_topology
from medconv.ops import ConvFactory, ConvOp, Derivative, StandardConv
from medconv.types import IntOrInts

MAX_CHANNELS = 4096
_WITH_SKIP = "stage but the coarsest"


class UNet(SegmentationModel):
    """Encoder and decoder with skip connections; each stage takes its own convolution, block and attention.

    Any input size works: an image whose size the network cannot halve often enough is padded with zeros
    inside and the result is cropped back. With symmetric operators, pooling and ``"linear"`` or ``"nearest"``
    upsampling the whole network commutes with the rotations and reflections that all stages share
    (``describe`` names them).

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the image.
        num_classes: ``K``, background included.
        channels: Channels of each stage, finest first; their number is the number of stages.
        conv: Makes the convolutions: one for all stages, or a list with one a stage.
        stem: Makes a convolution unit in front of the encoder, from the image to the first of ``channels``;
            ``None``: none. ``LiftingConv`` where ``conv`` is ``GroupConv``.
        decoder_conv: ``"same"`` as the encoder at that stage; ``"standard"`` (or ``None``): plain ones, so
            that ``conv`` works in the encoder only; or one of its own, or a list with one a stage but the
            coarsest.
        block: Makes the blocks of both sides, once or one a stage.
        attention: Makes the attention of both sides, once or one a stage; ``None``: none.
        skip_attention: Makes the layers on the skip connections, once or one a stage but the coarsest, which
            has no skip; ``None``: none. ``AttentionGate`` makes it an Attention U-Net.
        kernel_sizes: One entry a stage, instead of the rule in ``plan_topology``.
        strides: One entry a stage, instead of the rule; the first is 1.
        spacing_mm: Voxel size of the image; ``None`` means isotropic. It decides the strides and kernels and
            tells the operators which axes are alike.
        norm: ``"instance"``, ``"batch"``, ``"group"`` or ``"none"``.
        activation: Nonlinearity of the units.
        dropout: Share of channels dropped in training after each unit.
        downsample: ``"max"``, ``"average"``, or ``"stride"``: the first convolution of a stage takes the
            step, as in nnU-Net; that breaks rotations, because a kernel of 3 with a step of 2 ends off
            centre.
        upsample: ``"linear"``, ``"nearest"``, or ``"transpose"`` as in nnU-Net; its free weights break
            rotations.
        guide_derivative: How operators with a guide have the gradient of the image taken, once for all of them:
            ``"gaussian"``, or ``"scharr"``, cheaper and noisier.
        deep_supervision: Whether training returns logits at coarser resolutions too: at every decoder stage
            but the coarsest, and at least at one.

    Shape:
        - Input ``(B, in_channels, *S)``, floating.
        - Output ``(B, num_classes, *S)``; in training with deep supervision a list, full resolution first,
          the others at ``S / stride`` (at ``S`` where ``S`` had to be padded).

    Raises:
        ConfigError: Settings that cannot be built, with the expected and the given value.
        ShapeError: At call time: an image of another rank or channel count.

    Example:
        >>> import torch
        >>> net = UNet(3, 1, 3, channels=(4, 8, 16), spacing_mm=(3.0, 1.0, 1.0))
        >>> net.divisor, net(torch.zeros(1, 1, 9, 30, 32)).shape
        ((2, 4, 4), torch.Size([1, 3, 9, 30, 32]))

    Source: Ronneberger et al., "U-Net", MICCAI 2015; topology of Isensee et al., "nnU-Net", Nature Methods
    2021.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        *,
        channels: Sequence[int] = (32, 64, 128, 256),
        conv: ConvFactory | list[ConvFactory] = StandardConv,
        stem: ConvFactory | None = None,
        decoder_conv: Literal["same", "standard"] | ConvFactory | list[ConvFactory] | None = "same",
        block: BlockFactory | list[BlockFactory] = PlainBlock,
        attention: AttentionFactory | list[AttentionFactory | None] | None = None,
        skip_attention: SkipAttentionFactory | list[SkipAttentionFactory | None] | None = None,
        kernel_sizes: Sequence[IntOrInts] | None = None,
        strides: Sequence[IntOrInts] | None = None,
        spacing_mm: Sequence[float] | None = None,
        norm: NormName = "instance",
        activation: ActivationName = "leaky_relu",
        dropout: float = 0.0,
        downsample: DownsampleName = "max",
        upsample: UpsampleName = "linear",
        guide_derivative: Derivative = "gaussian",
        deep_supervision: bool = False,
    ) -> None:
        topology = plan_topology(
            spatial_dims, len(channels), spacing_mm, kernel_sizes=kernel_sizes, strides=strides
        )
        super().__init__(spatial_dims, in_channels, num_classes, topology.divisor)
        if not all(1 <= c <= MAX_CHANNELS for c in channels):
            raise ConfigError(f"expected channels from 1 to {MAX_CHANNELS}, got {list(channels)}")
        self.strides = topology.strides
        self.spacing_mm = topology.spacings_mm[0]
        number = len(channels)
        blocks, convs = _each(block, number, "block"), _each(conv, number, "conv")
        attentions = _each(attention, number, "attention")
        skip_attentions = [*_each(skip_attention, number - 1, "skip_attention", _WITH_SKIP), None]
        grids = (topology.kernel_sizes, topology.strides, topology.spacings_mm)
        stages = [
            Stage(c, k, s, h, b, f, a, norm, activation, dropout, skip)
            for (c, k, s, h), b, f, a, skip in zip(
                zip(channels, *grids, strict=True), blocks, convs, attentions, skip_attentions, strict=True
            )
        ]
        upward = _decoder_convs(decoder_conv, convs)
        self.pad = PadToDivisor(topology.divisor)
        self.stem = None if stem is None else _build_stem(in_channels, stages[0], stem)
        self.encoder = Encoder(channels[0] if stem else in_channels, stages, downsample)
        self.decoder = Decoder([replace(s, conv=c) for s, c in zip(stages, upward, strict=True)], upsample)
        orientations = common_orientations(self.stem, self.encoder, self.decoder)
        self.heads = SegmentationHeads(
            spatial_dims, _head_channels(channels, deep_supervision), num_classes, orientations
        )
        self.deep_supervision = deep_supervision
        self.guide = _build_guide(self, self.spacing_mm, guide_derivative)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits at the image's size; in training with deep supervision a list, full resolution first."""
        self.check_input(x)
        guide = None if self.guide is None else self.pad(self.guide(x))
        guides = guide_pyramid(guide, self.strides)
        image = self.pad(x)
        features = image if self.stem is None else self.stem(image, guides[0])
        decoded = self.decoder(self.encoder(features, guides), guides)
        logits = [self.pad.crop(y, x.shape[2:]) for y in self.heads(decoded)]
        return logits if self.training and self.deep_supervision else logits[0]


def _each(value: Any, stages: int, name: str, which: str = "stage") -> list[Any]:
    """One value a stage: a list as it is, anything else repeated."""
    if not isinstance(value, list | tuple):
        return [value] * stages
    if len(value) != stages:
        raise ConfigError(
            f"expected {name} once or as a list with one entry a {which}, {stages}; got {len(value)}"
        )
    return list(value)


def _decoder_convs(choice: Any, encoder: list[ConvFactory]) -> list[ConvFactory]:
    """The decoder's convolution at each stage; the coarsest has none and keeps the encoder's."""
    if choice == "same":
        return encoder
    if choice is None or choice == "standard":
        choice = StandardConv
    return [*_each(choice, len(encoder) - 1, "decoder_conv"), encoder[-1]]


def _build_stem(in_channels: int, stage: Stage, conv: ConvFactory) -> ConvUnit:
    return ConvUnit(
        stage.spatial_dims,
        in_channels,
        stage.channels,
        stage.kernel_size,
        conv=conv,
        norm=stage.norm,
        activation=stage.activation,
        spacing_mm=stage.spacing_mm,
    )


def _build_guide(net: nn.Module, spacing_mm: Sequence[float], derivative: Derivative) -> EdgeGuide | None:
    """What all operators that want a guide share; ``None`` where none does."""
    wanted = [m.guide_channels for m in net.modules() if isinstance(m, ConvOp) and m.needs_guide]
    if wanted:
        return EdgeGuide(spacing_mm, derivative, with_image=max(wanted) > 1)
    if derivative != "gaussian":
        raise ConfigError(
            f"guide_derivative={derivative!r} has no effect: no operator wants a guide; leave it out"
        )
    return None


def _head_channels(channels: Sequence[int], deep_supervision: bool) -> Sequence[int]:
    if not deep_supervision:
        return channels[:1]
    if len(channels) < 3:
        raise ConfigError(
            f"expected at least 3 stages for deep_supervision, got {len(channels)}: "
            "with 2 there is no coarser decoder output to supervise"
        )
    return channels[: max(2, len(channels) - 2)]
