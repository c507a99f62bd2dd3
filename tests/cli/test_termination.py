from __future__ import annotations

import os
import signal
import time

import pytest

from medconv.cli.termination import terminated_as_interrupted


def test_sigterm_leaves_the_block_and_the_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    left: list[bool] = []

    def work() -> None:
        with terminated_as_interrupted():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            finally:
                left.append(True)

    with pytest.raises(SystemExit) as stop:
        work()
    assert (stop.value.code, left) == (143, [True])
    assert signal.getsignal(signal.SIGTERM) is before
