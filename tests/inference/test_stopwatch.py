from __future__ import annotations

import time

import pytest

from medconv.inference.stopwatch import Stopwatch


def test_stages_add_up_and_count_when_they_fail() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch.stage("read"):
            time.sleep(0.01)
    with pytest.raises(ValueError, match="no"), watch.stage("network"):
        raise ValueError("no")
    assert list(watch.seconds) == ["read", "network"]
    assert watch.seconds["read"] >= 0.02
    assert 0 <= watch.seconds["network"] < 0.02
