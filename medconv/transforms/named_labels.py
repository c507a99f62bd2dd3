"""Label maps in which every value has a name in the plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError
from medconv.io.volume import Volume
from medconv.planning import Plan


def named_labels(label: Volume, plan: Plan) -> npt.NDArray[Any]:
    """The values of a label map, uint8, or int16 for more than 256; ignored voxels are ``plan.unknown_label``.

    Raises:
        BadImageError: A value the plan has no name for.
    """
    values = label.data
    if plan.unknown_label is not None:
        # out of the way first: a value that has no name stays one without
        unknown = values == plan.ignore_label
        values = np.where(unknown, 0, values)
    most = int(values.max())
    if most >= plan.num_labels:
        raise BadImageError(
            f"{label.name}: expected labels from 0 to {plan.num_labels - 1} as the plan names them, got {most}"
        )
    if plan.unknown_label is not None:
        values = np.where(unknown, plan.unknown_label, values)
    largest = plan.unknown_label or plan.num_labels - 1
    return values.astype(np.uint8 if largest < 256 else np.int16)
