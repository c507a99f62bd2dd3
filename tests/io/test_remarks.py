from __future__ import annotations

import threading
import warnings

import pytest

from medconv.io.remarks import noted


def test_each_thread_keeps_its_own() -> None:
    found: dict[int, list[str]] = {n: [] for n in range(4)}
    together = threading.Barrier(4)

    def work(n: int) -> None:
        together.wait()
        for _ in range(50):
            with noted(found[n]):
                warnings.warn(f"about {n}", UserWarning, stacklevel=1)

    threads = [threading.Thread(target=work, args=(n,)) for n in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [f"about {n}"] * 50 for n in found}


def test_filters_are_as_before_afterwards() -> None:
    before, show = list(warnings.filters), warnings.showwarning
    with noted([]), noted([]):
        pass
    assert warnings.filters == before
    assert warnings.showwarning is show


def test_other_kinds_are_no_news_about_a_case() -> None:
    remarks: list[str] = []
    with noted(remarks), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("coarse", UserWarning, stacklevel=1)
    assert remarks == ["coarse"]


def test_warnings_outside_are_shown_as_ever() -> None:
    with pytest.warns(UserWarning, match="loud"):
        warnings.warn("loud", UserWarning, stacklevel=1)
