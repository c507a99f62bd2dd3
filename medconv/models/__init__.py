"""Models: whole segmentation networks, and what can be done with one: build, describe, fold.

``UNet`` takes any operator, block and attention at any stage. Everything here is tensors in, tensors out:
files, training and metrics live elsewhere.
"""

from medconv.models.base import SegmentationModel
from medconv.models.baselines import MonaiDynUNet, MonaiSegResNet
from medconv.models.build import build_network, resolve_network, restrict_class_paths
from medconv.models.convert import convert
from medconv.models.describe import Description, Row, describe
from medconv.models.fold import fold
from medconv.models.remove_channels import remove_channels
from medconv.models.shadow import activation_bytes
from medconv.models.take_over import TakenOver, take_over
from medconv.models.topology import Topology, plan_topology
from medconv.models.unet import UNet

__all__ = [
    "Description",
    "MonaiDynUNet",
    "MonaiSegResNet",
    "Row",
    "SegmentationModel",
    "TakenOver",
    "Topology",
    "UNet",
    "activation_bytes",
    "build_network",
    "convert",
    "describe",
    "fold",
    "plan_topology",
    "remove_channels",
    "resolve_network",
    "restrict_class_paths",
    "take_over",
]
