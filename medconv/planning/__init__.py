"""Decisions that data make: at which spacing to work, how large a patch is, how intensities are scaled.

``fingerprint`` reads what the decisions rest on, ``rules`` are pure functions from numbers to a decision, and
a ``Plan`` is the outcome: frozen, checked, the same as YAML, as plain values in a checkpoint, and in Python.
"""

from medconv.planning.channel_kinds import ChannelKind, guessed_channels, kind_of_channel
from medconv.planning.dataset_identity import DatasetIdentity
from medconv.planning.fingerprint import Fingerprint, read_headers, read_intensities
from medconv.planning.footprint import (
    PLAIN,
    RESENC_L,
    RESENC_M,
    RESENC_XL,
    Preset,
    count_map_voxels,
)
from medconv.planning.instance_target import InstanceTarget
from medconv.planning.intensity import Intensity
from medconv.planning.lower_resolution import lower_resolution
from medconv.planning.mirroring import mirror_axes
from medconv.planning.plan import NORMALIZATIONS, Plan
from medconv.planning.proposal import NetworkPlan, Proposal, TrainingPlan
from medconv.planning.propose import propose, propose_plan
from medconv.planning.rules import median_shape, median_spacing
from medconv.planning.sizes import Cost, Sizes, fit_sizes
from medconv.planning.stages import StagePlan, plan_stages
from medconv.planning.wishes import Wishes

__all__ = [
    "NORMALIZATIONS",
    "PLAIN",
    "RESENC_L",
    "RESENC_M",
    "RESENC_XL",
    "ChannelKind",
    "Cost",
    "DatasetIdentity",
    "Fingerprint",
    "InstanceTarget",
    "Intensity",
    "NetworkPlan",
    "Plan",
    "Preset",
    "Proposal",
    "Sizes",
    "StagePlan",
    "TrainingPlan",
    "Wishes",
    "count_map_voxels",
    "fit_sizes",
    "guessed_channels",
    "kind_of_channel",
    "lower_resolution",
    "median_shape",
    "median_spacing",
    "mirror_axes",
    "plan_stages",
    "propose",
    "propose_plan",
    "read_headers",
    "read_intensities",
]
