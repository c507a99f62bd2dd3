from __future__ import annotations

import pytest
import torch

from medconv import host_memory

GIB = 2**30


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A card of 16 GiB on which others hold 4; what PyTorch reserved of it, and what tensors take of that."""
    state = {"reserved": 0, "allocated": 0, "asked": 0, "tenth": 0}

    def mem_get_info(_: object) -> tuple[int, int]:
        state["asked"] += 1
        return 12 * GIB - state["reserved"], 16 * GIB

    monkeypatch.setattr(torch.cuda, "mem_get_info", mem_get_info)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: state["reserved"])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: state["allocated"])
    monkeypatch.setattr(host_memory.time, "monotonic", lambda: state["tenth"] / 10)
    host_memory._not_of_others.cache_clear()
    return state


def test_free_memory_of_a_card_follows_tensors_though_the_driver_is_asked_now_and_then(
    card: dict[str, int],
) -> None:
    gpu = torch.device("cuda", 0)
    assert host_memory.free_device_bytes(gpu) == 12 * GIB
    card.update(reserved=3 * GIB, allocated=2 * GIB)
    assert host_memory.free_device_bytes(gpu) == 10 * GIB  # what is reserved and not taken is free
    card.update(reserved=9 * GIB, allocated=9 * GIB)
    assert host_memory.free_device_bytes(gpu) == 3 * GIB
    assert card["asked"] == 1
    card.update(tenth=2)
    assert host_memory.free_device_bytes(gpu) == 3 * GIB
    assert card["asked"] == 2


def test_memory_of_a_processor_is_no_memory_of_a_device() -> None:
    assert host_memory.free_device_bytes(torch.device("cpu")) is None
    free = host_memory.free_host_bytes()
    assert free is None or free > 0
