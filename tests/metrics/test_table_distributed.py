"""The same table from one, two and three real processes, one of them idle, with a sampler that pads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from test_segmentation_table import NAMES, case

from medconv.metrics import SegmentationTable


def share(rank: int, plan: list[list[int]]) -> SegmentationTable:
    table = SegmentationTable(NAMES)
    for seed in plan[rank]:
        table.add(f"case_{seed:03}", *case(seed))
    return table


def work(rank: int, plan: list[list[int]], folder: str) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=len(plan))
    table = share(rank, plan)
    whole = table.compute()
    whole.to_csv(Path(folder) / f"whole_{rank}.csv")
    # what one process has measured is its own again after the others were asked
    own = {row.case_id for row in table.rows}
    assert own == {f"case_{seed:03}" for seed in plan[rank]}
    table.reset()
    assert len(table.compute()) == 0
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    "plan",
    [
        [[0, 1, 2, 3, 4]],
        [[0, 2, 4], [1, 3]],
        [[], [4, 3, 2, 1, 0]],
        [[0, 3], [1, 4], [2, 0]],
        [[0, 1, 2, 3, 4], [], [0, 1]],
    ],
    ids=["one", "uneven", "idle first", "padded", "idle and repeated"],
)
def test_every_process_has_the_table_of_one(plan: list[list[int]], tmp_path: Path) -> None:
    expected = share(0, [[0, 1, 2, 3, 4]]).compute().csv_text()
    mp.spawn(work, (plan, str(tmp_path)), nprocs=len(plan))  # type: ignore[no-untyped-call]
    written = [(tmp_path / f"whole_{rank}.csv").read_text() for rank in range(len(plan))]
    assert written == [expected] * len(plan)


def test_a_gathering_of_any_kind_gives_the_table_of_one() -> None:
    """The same without processes: what torchmetrics does with the states, by a gather of our own."""
    tables = [share(rank, [[0, 1, 2], [], [3, 4, 0]]) for rank in range(3)]
    for table in tables:
        others = [other for other in tables if other is not table]

        def gather(chunk: object, group: object = None, others: list = others) -> list:
            return [*(_joined(other) for other in others), chunk]

        table.dist_sync_fn, table.distributed_available_fn = gather, lambda: True
        assert table.compute().csv_text() == share(0, [[0, 1, 2, 3, 4]]).compute().csv_text()


def _joined(table: SegmentationTable) -> object:
    chunks = table.written
    return torch.cat(list(chunks)) if len(chunks) else torch.empty(0, dtype=torch.uint8)
