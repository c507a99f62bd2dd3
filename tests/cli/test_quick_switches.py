from __future__ import annotations

import sys

import pytest

from medconv.cli.quick_switches import quick_switches


def test_threads_switch_sooner_within_the_block_only() -> None:
    before = sys.getswitchinterval()
    with quick_switches():
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def test_it_is_as_before_after_an_interruption_too() -> None:
    before = sys.getswitchinterval()

    def interrupted() -> None:
        with quick_switches():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sys.getswitchinterval() == before
