"""A loss with what the plan says about the labels it will see."""

from __future__ import annotations

from medconv.losses import DeepSupervisionLoss, Loss
from medconv.planning import Plan


def supervise(loss: Loss, plan: Plan | None = None) -> DeepSupervisionLoss:
    """The loss on every output of a decoder, of classes or regions, without the voxels that nobody labelled.

    Args:
        loss: Applied to each output.
        plan: Of the data; ``None``: all labels are classes, all voxels are known, their size is not.
    """
    if plan is None:
        return DeepSupervisionLoss(loss)
    return DeepSupervisionLoss(
        loss,
        regions=tuple(plan.regions.values()) or None,
        num_labels=plan.num_labels,
        ignore_label=plan.unknown_label,
        spacing_mm=plan.spacing_mm,
    )
