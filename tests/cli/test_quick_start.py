from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from medconv.cli.quick_start import quick_start


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable()


def test_no_garbage_is_searched_for_within_the_block_only() -> None:
    with quick_start():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_made_in_the_block_is_not_looked_at_again() -> None:
    before = gc.get_freeze_count()
    with quick_start():
        made = [[number] for number in range(1000)]
    assert gc.get_freeze_count() >= before + 1000
    assert not any(thing is made for thing in gc.get_objects())
    later: list[object] = []
    assert any(thing is later for thing in gc.get_objects())


def test_after_an_error_garbage_is_searched_for_again() -> None:
    def failing() -> None:
        with quick_start():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert gc.isenabled()


def test_who_searches_for_none_goes_on_so() -> None:
    gc.disable()
    with quick_start():
        pass
    assert not gc.isenabled()
