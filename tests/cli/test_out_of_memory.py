"""A batch that does not fit is answered with one that does, where that can be tried."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from medconv.cli import out_of_memory
from medconv.cli.out_of_memory import explain_out_of_memory, smaller_batch, tried_batch

DATA: Any = SimpleNamespace(batch_size=12, plan=SimpleNamespace(patch_size=(16, 8)))
ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore words")


def test_the_answer_names_the_batch_that_was_tried_or_half_of_it() -> None:
    told = explain_out_of_memory(ERROR, DATA, 3)
    assert told.startswith(
        "memory does not hold a batch of 12 patches of 16 × 8 voxels: set --data.init_args.batch_size 3, of which a "
        "step was tried and fits; "
    )
    assert told.endswith("(CUDA out of memory. Tried to allocate 2 GiB)")
    assert "set --data.init_args.batch_size 6; " in explain_out_of_memory(ERROR, DATA)
    one: Any = SimpleNamespace(batch_size=1, plan=DATA.plan)
    assert "set a smaller --data.init_args.patch_size; " in explain_out_of_memory(ERROR, one)


def test_halves_are_tried_in_the_room_that_is_left_and_the_tensors_of_the_step_are_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, bool]] = []

    def peak(_net: object, _plan: object, size: int, _device: object, *, is_mixed: bool) -> int | None:
        asked.append((size, is_mixed))
        return {6: None, 3: 950, 1: 800}[size]

    monkeypatch.setattr(out_of_memory, "peak_of_step", peak)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    net: Any = None
    assert smaller_batch(ERROR, net, DATA, torch.device("cuda", 0), is_mixed=False) == 1
    assert asked == [(6, False), (3, False), (1, False)]
    assert smaller_batch(ERROR, net, DATA, torch.device("cpu"), is_mixed=False) is None


def test_an_attempt_that_fails_hides_nothing() -> None:
    def broken(_: int) -> int:
        raise RuntimeError("the device is gone")

    assert tried_batch(broken, 8, 1000) is None
    assert tried_batch(lambda _: None, 8, 1000) is None
