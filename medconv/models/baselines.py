"""Networks of MONAI behind the same base: what a new operator is to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

from torch import Tensor

from medconv.errors import ConfigError
from medconv.models.base import SegmentationModel
from medconv.models.padding import PadToDivisor
from medconv.models.topology import plan_topology
from medconv.types import IntOrInts


class MonaiDynUNet(SegmentationModel):
    """MONAI's ``DynUNet``: nnU-Net's architecture, with strided convolutions down and transposed ones up.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the image.
        num_classes: ``K``, background included.
        channels: Channels of each stage, finest first; at least three stages.
        kernel_sizes: One entry a stage, instead of the rule in ``plan_topology``.
        strides: One entry a stage, instead of the rule; the first is 1.
        spacing_mm: Voxel size of the image; ``None`` means isotropic.
        norm: ``"instance"`` or ``"batch"``.
        residual: Whether blocks have shortcuts.
        dropout: Share of channels dropped in training.
        deep_supervision: Whether training returns auxiliary logits too, which MONAI brings to full
            resolution.

    Shape:
        - Input ``(B, in_channels, *S)``.
        - Output ``(B, num_classes, *S)``; in training with deep supervision a list of such.

    Raises:
        ConfigError: Fewer than three stages, or as ``plan_topology``.

    Example:
        >>> import torch
        >>> MonaiDynUNet(2, 1, 3, channels=(4, 8, 16))(torch.zeros(1, 1, 20, 20)).shape
        torch.Size([1, 3, 20, 20])

    Source: Isensee et al., "nnU-Net", Nature Methods 2021; MONAI, networks/nets/dynunet.py.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        *,
        channels: Sequence[int] = (32, 64, 128, 256),
        kernel_sizes: Sequence[IntOrInts] | None = None,
        strides: Sequence[IntOrInts] | None = None,
        spacing_mm: Sequence[float] | None = None,
        norm: Literal["instance", "batch"] = "instance",
        residual: bool = False,
        dropout: float = 0.0,
        deep_supervision: bool = False,
    ) -> None:
        topology = plan_topology(
            spatial_dims, len(channels), spacing_mm, kernel_sizes=kernel_sizes, strides=strides
        )
        super().__init__(spatial_dims, in_channels, num_classes, topology.divisor)
        if len(channels) < 3:
            raise ConfigError(f"expected at least 3 stages for MonaiDynUNet, got {len(channels)}")
        self.deep_supervision = deep_supervision
        self.spacing_mm = topology.spacings_mm[0]
        self.pad = PadToDivisor(self.divisor)
        self.net = _monai_network("DynUNet")(
            spatial_dims,
            in_channels,
            num_classes,
            kernel_size=topology.kernel_sizes,
            strides=topology.strides,
            upsample_kernel_size=topology.strides[1:],
            filters=list(channels),
            dropout=dropout or None,
            norm_name=(norm, {"affine": True}),
            deep_supervision=deep_supervision,
            deep_supr_num=max(1, len(channels) - 3),
            res_block=residual,
        )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits at the image's size."""
        self.check_input(x)
        y = self.net(self.pad(x))
        # MONAI keeps the last auxiliary maps on the module: memory held, and a graph that cannot be copied
        self.net.heads[:] = [x.new_zeros(1)] * len(self.net.heads)
        if self.training and self.deep_supervision:
            return [self.pad.crop(z, x.shape[2:]) for z in y.unbind(1)]
        return self.pad.crop(y, x.shape[2:])


class MonaiSegResNet(SegmentationModel):
    """MONAI's ``SegResNet``: pre-activation residual blocks and trilinear upsampling, no auxiliary branch.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the image.
        num_classes: ``K``, background included.
        channels: Channels of the first stage; they double at each step down.
        blocks_down: Blocks at each stage on the way down.
        blocks_up: Blocks at each stage on the way up, one entry fewer.
        dropout: Share of channels dropped in training.

    Shape:
        - Input ``(B, in_channels, *S)``.
        - Output ``(B, num_classes, *S)``.

    Raises:
        ConfigError: Lists of unfitting length, or channels that groups of 8 do not divide.

    Example:
        >>> import torch
        >>> MonaiSegResNet(3, 1, 2, channels=8)(torch.zeros(1, 1, 16, 12, 16)).shape
        torch.Size([1, 2, 16, 12, 16])

    Source: Myronenko, "3D MRI Brain Tumor Segmentation Using Autoencoder Regularization", BrainLes 2018;
    MONAI.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        *,
        channels: int = 16,
        blocks_down: Sequence[int] = (1, 2, 2, 4),
        blocks_up: Sequence[int] = (1, 1, 1),
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            spatial_dims, in_channels, num_classes, (2 ** (len(blocks_down) - 1),) * spatial_dims
        )
        if len(blocks_up) != len(blocks_down) - 1 or channels < 8 or channels % 8:
            raise ConfigError(
                "expected blocks_up with one entry fewer than blocks_down, and channels divisible by 8; got "
                f"{list(blocks_up)}, {list(blocks_down)} and {channels}"
            )
        self.pad = PadToDivisor(self.divisor)
        self.net = _monai_network("SegResNet")(
            spatial_dims,
            init_filters=channels,
            in_channels=in_channels,
            out_channels=num_classes,
            dropout_prob=dropout or None,
            blocks_down=tuple(blocks_down),
            blocks_up=tuple(blocks_up),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the image's size."""
        self.check_input(x)
        return self.pad.crop(self.net(self.pad(x)), x.shape[2:])


def _monai_network(name: str) -> Any:
    """A class of MONAI, imported when it is first built: that takes seconds, which every command would wait for."""
    return getattr(import_module(f"monai.networks.nets.{name.lower()}"), name)
