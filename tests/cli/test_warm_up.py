from __future__ import annotations

import threading

import pytest
import torch

from medconv.cli.warm_up import _convolve, warm_up


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "medconv-warm-up"]


def _wait() -> None:
    for thread in _threads():
        thread.join(30)


@pytest.mark.parametrize("device", ["cpu", "mps", "cud", ""])
def test_another_device_starts_nothing(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("a GPU was asked for"))
    warm_up(device)
    assert not _threads()


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:99", "cuda:x"])
def test_what_goes_wrong_is_left_to_who_uses_the_gpu(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args))
    raised: list[object] = []
    asked = threading.Event()

    def is_available() -> bool:
        asked.set()
        return True  # which it is not, or has no such number

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    warm_up(device)
    assert asked.wait(10)
    _wait()
    assert not raised


@pytest.mark.gpu
def test_a_gpu_is_started() -> None:
    _convolve(torch.device("cuda"))  # which raises what warm_up would not
    warm_up("cuda")
    _wait()
    assert torch.cuda.is_initialized()
