from __future__ import annotations

import pytest
import torch

from medconv.errors import ConfigError
from medconv.models import UNet
from medconv.planning import Plan
from medconv.training.step_memory import largest_fitting, peak_of_step, train_one_step


def plan_of(patch: tuple[int, ...], num_labels: int = 3, **rules: object) -> Plan:
    names = {label: f"label_{label}" for label in range(num_labels)}
    spacing_mm = (1.0,) * len(patch)
    return Plan(len(patch), ("T1",), names, spacing_mm, patch, ("zscore",), orientation="native", **rules)  # type: ignore[arg-type]


def test_a_batch_is_halved_until_it_fits() -> None:
    peaks = {16: None, 8: 900, 4: 400}
    found = largest_fitting(peaks.__getitem__, 16, limit_bytes=500)
    assert (found.batch_size, found.peak_bytes, found.tried) == (4, 400, (16, 8))
    assert largest_fitting(lambda size: size, 3, limit_bytes=3).tried == ()


def test_room_for_not_one_patch_is_refused_with_what_was_tried() -> None:
    with pytest.raises(
        ConfigError, match=r"room for one patch in 2.0 GB, tried batches of 5, 2, 1; give a smaller"
    ):
        largest_fitting(lambda _size: None, 5, limit_bytes=2e9)


def test_a_tried_step_is_a_whole_one_and_leaves_the_network_as_it_was() -> None:
    net = UNet(2, 1, 3, channels=(4, 8, 8), deep_supervision=True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    loss = train_one_step(net, plan_of((16, 16)), 2, torch.device("cpu"))
    assert 0 < loss < 20
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_step_that_finds_no_memory_leaves_the_network_as_it_was_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = UNet(2, 1, 3, channels=(4, 8, 8)).eval()
    train_one_step(net, plan_of((16, 16)), 1, torch.device("cpu"))
    assert not any(module.training for module in net.modules())

    def short(*_size: object, **_options: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("as if the batch were too large")

    monkeypatch.setattr(torch, "randint", short)
    with pytest.raises(torch.OutOfMemoryError):
        train_one_step(net, plan_of((16, 16)), 1, torch.device("cpu"))
    assert not any(module.training for module in net.modules())


def test_a_step_is_tried_with_one_region_and_its_binary_loss() -> None:
    plan = plan_of((16, 16), 4, regions={"y": (2,)}, regions_class_order=(2,), ignore_label=9)
    net = UNet(2, 1, plan.num_classes, channels=(4, 8, 8), deep_supervision=True)
    assert 0 < train_one_step(net, plan, 2, torch.device("cpu")) < 20


def test_memory_is_measured_on_a_gpu_only() -> None:
    with pytest.raises(
        ConfigError, match="expected a GPU to measure memory on, got cpu; leave --device at none"
    ):
        peak_of_step(UNet(2, 1, 2, channels=(4, 8)), plan_of((16, 16), 2), 1, torch.device("cpu"))


@pytest.mark.gpu
def test_the_peak_grows_with_the_batch_and_too_much_is_none() -> None:
    torch.use_deterministic_algorithms(False)  # which a trainer of another test may have left on
    net, device = UNet(3, 1, 3, channels=(32, 64, 128), deep_supervision=True), torch.device("cuda")
    one, four = (peak_of_step(net, plan_of((64, 64, 64)), size, device) for size in (1, 4))
    assert one is not None
    assert four is not None
    assert 2 < four / one < 4.5
    assert peak_of_step(net, plan_of((256, 256, 256)), 512, device) is None
