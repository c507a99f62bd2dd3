from __future__ import annotations

import os

import pytest

from medconv.processors import usable_processors


def test_only_those_that_this_process_may_use_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert usable_processors() == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
    assert usable_processors() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_processors() == 1
