"""What the ranks of a distributed run tell each other about cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as dist

Row = TypeVar("Row")


def gather_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of all ranks, in rank order; the own rows where training is not distributed.

    Ranks may hold any number of rows, also none.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return list(rows)
    parts: list[list[Row]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, list(rows))
    return [row for part in parts for row in part]
