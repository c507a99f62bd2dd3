from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from monai.networks.nets import DynUNet

from medconv.errors import ConfigError, ShapeError
from medconv.models import MonaiDynUNet, MonaiSegResNet, SegmentationModel, plan_topology


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("size", [(16, 16, 16), (15, 9, 10), (1, 1, 1)])
@pytest.mark.parametrize("make", ["dynunet", "segresnet"])
def test_any_size_works_behind_the_same_base(dims: int, size: tuple[int, ...], make: str) -> None:
    net: SegmentationModel = (
        MonaiDynUNet(dims, 2, 3, channels=(2, 4, 4))
        if make == "dynunet"
        else MonaiSegResNet(dims, 2, 3, channels=8, blocks_down=(1, 1, 1), blocks_up=(1, 1))
    )
    assert net.divisor == (4,) * dims
    assert net(torch.randn(1, 2, *size[:dims])).shape == (1, 3, *size[:dims])
    assert len({t.data_ptr() for t in net.state_dict().values()}) <= len(net.state_dict())


@torch.no_grad()
def test_it_is_monais_network_with_nnunets_topology() -> None:
    topology = plan_topology(3, 3, (3.0, 1.0, 1.0))
    torch.manual_seed(0)
    ours = MonaiDynUNet(3, 1, 2, channels=(2, 4, 8), spacing_mm=(3.0, 1.0, 1.0)).eval()
    torch.manual_seed(0)
    theirs = DynUNet(
        3, 1, 2, topology.kernel_sizes, topology.strides, topology.strides[1:], filters=[2, 4, 8],
        norm_name=("instance", {"affine": True}),
    ).eval()  # fmt: skip
    x = torch.randn(1, 1, 8, 16, 16)
    assert torch.equal(ours(x), theirs(x))


def test_deep_supervision_is_a_list_at_full_resolution() -> None:
    net = MonaiDynUNet(2, 1, 2, channels=(2, 4, 4, 4, 4), deep_supervision=True)
    assert [tuple(y.shape) for y in net(torch.randn(1, 1, 30, 32))] == [(1, 2, 30, 32)] * 3
    copy = deepcopy(net)
    assert copy.eval()(torch.randn(1, 1, 30, 32)).shape == (1, 2, 30, 32)


def test_residual_blocks_and_dropout_are_passed_on() -> None:
    plain, residual = (MonaiDynUNet(2, 1, 2, channels=(2, 4, 4), residual=r) for r in (False, True))
    assert sum(p.numel() for p in residual.parameters()) > sum(p.numel() for p in plain.parameters())
    net = MonaiDynUNet(2, 1, 2, channels=(2, 4, 4), dropout=0.5)
    x = torch.randn(1, 1, 16, 16)
    assert not torch.equal(net(x), net(x))


def test_settings_that_monai_cannot_build_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected at least 3 stages for MonaiDynUNet, got 2"):
        MonaiDynUNet(2, 1, 2, channels=(2, 4))
    with pytest.raises(ConfigError, match="expected blocks_up with one entry fewer"):
        MonaiSegResNet(2, 1, 2, blocks_down=(1, 1), blocks_up=(1, 1))
    with pytest.raises(ConfigError, match="channels divisible by 8"):
        MonaiSegResNet(2, 1, 2, channels=12)
    with pytest.raises(ShapeError, match=r"MonaiDynUNet: expected \(B, 1, H, W\)"):
        MonaiDynUNet(2, 1, 2, channels=(2, 4, 4))(torch.zeros(1, 2, 8, 8))
