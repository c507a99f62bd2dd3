"""The memory of a training step with the operators of a configuration, at the sizes of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from medconv.errors import ConfigError
from medconv.models import SegmentationModel, activation_bytes, build_network
from medconv.planning import Cost, Plan, StagePlan

PLAIN_NETWORK: Mapping[str, Any] = {"class_path": "medconv.models.UNet", "init_args": {}}

MARGIN = 1.32
"""Peak over what is kept, weights aside: 1.31 for eager steps and 0.93 for recorded ones in channels-last layout, of
benchmarks/results/step_time_plain.md (six stages, one H100)."""

_TRAINED_BYTES = 16
"""Of each weight in float32: itself, its gradient, and the two moments of AdamW."""


class OperatorMemory:
    """Bytes of a training step in bfloat16, for the network of a configuration with the stages of a plan.

    Args:
        spec: ``class_path`` and ``init_args`` of a ``medconv.models.UNet``; the plan decides its classes, channels,
            strides and kernels, the specification everything else.
        allow: Plug-in packages whose classes may be named.

    Raises:
        ConfigError: Another network.
    """

    def __init__(self, spec: Mapping[str, Any], allow: Iterable[str] = ()) -> None:
        if str(spec.get("class_path", "")).rpartition(".")[2] != "UNet":
            raise ConfigError(
                f"expected a medconv.models.UNet, whose stages a plan can set, got {spec.get('class_path')!r}; plan "
                "without --config"
            )
        self.spec, self.allow = spec, tuple(allow)
        self._built: dict[str, SegmentationModel] = {}

    def __call__(self, plan: Plan, stages: StagePlan) -> Cost:
        """Fixed bytes, and bytes of each patch."""
        network = self.build(plan, stages)
        weights = sum(parameter.numel() for parameter in network.parameters()) * _TRAINED_BYTES
        return Cost(weights, MARGIN * activation_bytes(network, plan.patch_size), is_memory=True)

    def build(self, plan: Plan, stages: StagePlan) -> SegmentationModel:
        """The network in bfloat16, whose maps are half as large; one for each choice of stages is kept."""
        settings = planned_settings(self.spec, plan, stages)
        # the voxel size tells operators which axes are alike; what they keep depends on the stages
        key = repr({name: value for name, value in settings.items() if name != "spacing_mm"})
        if key not in self._built:
            network = build_network({**self.spec, "init_args": settings}, self.allow)
            self._built[key] = network.to(torch.bfloat16)
        return self._built[key]


def planned_settings(spec: Mapping[str, Any], plan: Plan, stages: StagePlan) -> dict[str, Any]:
    """The options of a U-Net with what a plan decides put in."""
    return {
        **(spec.get("init_args") or {}),
        "spatial_dims": plan.spatial_dims,
        "in_channels": plan.in_channels,
        "num_classes": plan.num_classes,
        "channels": list(stages.channels),
        "strides": [list(step) for step in stages.strides],
        "kernel_sizes": [list(kernel) for kernel in stages.kernel_sizes],
        "spacing_mm": list(plan.spacing_mm),
        "deep_supervision": len(stages) > 2,
    }
