"""Numbers that come from a device: which, when, and who waits for them."""

from __future__ import annotations

import pytest
import torch
from gpu_waiting import no_waiting
from lagging_device import LaggingDevice

from medconv.training.on_the_way import OnTheWay

VALUES = torch.tensor([[0.25, float("inf")], [-3.0, 7.5]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64])
def test_on_the_processor_numbers_are_there_at_once_and_stay_as_they_were(dtype):
    values = VALUES.nan_to_num(posinf=100).to(dtype).requires_grad_(dtype.is_floating_point)
    sent = OnTheWay(values)
    expected = values.detach().flatten().tolist()
    values.detach().zero_()
    assert sent.at_once
    assert sent.have_arrived()
    assert sent.numbers() == expected
    assert OnTheWay(values.sum()).numbers() == [0]


def test_numbers_that_have_not_arrived_are_waited_for(monkeypatch):
    device = LaggingDevice(lag=2)
    device.pretend(monkeypatch)
    sent = OnTheWay(VALUES)
    assert not sent.at_once
    seen = []
    for device.now in range(4):
        seen.append(sent.have_arrived())
        assert sent.numbers() == VALUES.flatten().tolist()
    assert seen == [False, False, True, True]
    assert device.waited_in == [0, 1]


@pytest.mark.gpu
def test_a_gpu_works_on_while_its_numbers_are_on_their_way():
    values = VALUES.cuda()
    # the first pinned memory and the first launch of a kernel are asked of the driver, which may wait
    OnTheWay(values).numbers()
    values.clone().zero_()
    torch.cuda._sleep(1)
    torch.cuda.synchronize()
    with no_waiting():
        torch.cuda._sleep(50_000_000)  # more than ten milliseconds
        sent = OnTheWay(values)
        values.zero_()
        torch.cuda._sleep(400_000_000)
        behind = torch.cuda.Event()
        behind.record()
        assert not sent.at_once
        assert not sent.have_arrived()
        assert sent.numbers() == VALUES.flatten().tolist()
        assert sent.have_arrived()
        assert not behind.query()  # what came after it was not waited for
    torch.cuda.synchronize()
