from __future__ import annotations

import pytest
import torch
from tiny_checkpoint import tiny_plan
from torch import Tensor, nn

from medconv.inference import Predictor
from medconv.inference.network_copy import copy_with
from medconv.kernels import to_channels_last
from medconv.models import UNet


def test_a_copy_computes_the_same_with_weights_of_its_own() -> None:
    torch.manual_seed(0)
    network = UNet(3, 1, 2, channels=(4, 8), norm="batch").eval()
    copied, x = copy_with(network, torch.clone), torch.randn(1, 1, 8, 8, 8)
    with torch.no_grad():
        expected = network(x)
        torch.testing.assert_close(copied(x), expected, rtol=0, atol=0)
        for tensor in (*copied.parameters(), *copied.buffers()):
            tensor.zero_()
        torch.testing.assert_close(network(x), expected, rtol=0, atol=0)
    assert all(weight.requires_grad for weight in network.parameters())


def test_a_weight_that_is_used_twice_stays_one() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    copied = copy_with(nn.Sequential(first, second), torch.clone)
    assert copied[0].weight is copied[1].weight
    assert copied[0].weight is not first.weight


def test_on_the_way_to_another_device_no_weight_is_copied_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    network = to_channels_last(UNet(3, 1, 2, channels=(4, 8), norm="batch"))
    engine = Predictor(
        [network], [tiny_plan(label_names={0: "background", 1: "bright"})], device="cpu"
    ).engine

    def copied_in_place(weight: Tensor, _: object) -> Tensor:
        raise AssertionError(f"a weight of {tuple(weight.shape)} was copied on {weight.device}")

    monkeypatch.setattr(nn.Parameter, "__deepcopy__", copied_in_place)
    (member,) = engine._members_on(torch.device("meta"))
    tensors = [*member.network.parameters(), *member.network.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert all(tensor.is_contiguous() for tensor in tensors)
