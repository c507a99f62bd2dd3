from __future__ import annotations

import subprocess
import sys

import pytest

from medconv.training.sharing import gather_rows

ONE_RANK_IDLE = """
import sys, torch.distributed as dist
from medconv.training.sharing import gather_rows
rank, world = int(sys.argv[1]), 3
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=world)
rows = [[("a", 1), ("b", 2)], [], [("c", 3)]][rank]
assert gather_rows(rows) == [("a", 1), ("b", 2), ("c", 3)]
dist.destroy_process_group()
"""


def test_alone_the_rows_are_ones_own():
    assert gather_rows([1, 2]) == [1, 2]


@pytest.mark.slow
def test_every_rank_sees_all_rows_though_one_has_none(tmp_path):
    ranks = [
        subprocess.Popen([sys.executable, "-c", ONE_RANK_IDLE, str(r), str(tmp_path / "meet")])
        for r in range(3)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0, 0]
