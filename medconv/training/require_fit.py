"""Whether a network belongs to a dataset."""

from __future__ import annotations

from collections.abc import Sequence

from medconv.errors import DatasetError
from medconv.models import SegmentationModel
from medconv.planning import Plan


def require_fit(network: SegmentationModel, plan: Plan) -> None:
    """Refuse a network whose axes, channels or classes differ from the data's.

    Raises:
        DatasetError: With both numbers and the setting to change.
    """
    pairs: Sequence[tuple[str, int, int]] = (
        ("spatial_dims", network.spatial_dims, plan.spatial_dims),
        ("in_channels", network.in_channels, plan.in_channels),
        ("num_classes", network.num_classes, plan.num_classes),
    )
    for name, built, needed in pairs:
        if built != needed:
            outputs = f"regions {list(plan.regions)}" if plan.regions else f"labels {dict(plan.label_names)}"
            raise DatasetError(
                f"the network has {name} {built}, the data {needed}; set model.network.init_args.{name}={needed} "
                f"(channels {list(plan.channel_names)}, {outputs})"
            )
