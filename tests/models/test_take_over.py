from __future__ import annotations

import pytest
import torch

from medconv.attention import ChannelAttention
from medconv.errors import ConfigError
from medconv.models import UNet, take_over
from medconv.ops import SparseConv, StandardConv, SymmetricConv

SIZE = {"spatial_dims": 2, "in_channels": 1, "num_classes": 3, "channels": (4, 8)}


def net(conv=StandardConv, seed=0, **changes):
    torch.manual_seed(seed)
    return UNet(**{**SIZE, **changes}, conv=conv)


def test_equal_networks_become_equal_and_nothing_is_left():
    source, target = net(seed=1), net(seed=2)
    report = take_over(source, target)
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(source(x), target(x))
    assert (report.projected, report.left, report.unused) == ({}, (), ())
    assert len(report.copied) == len(target.state_dict())


def test_symmetric_kernels_are_the_projection_and_the_lost_share_is_told():
    source, target = net(seed=1), net(SymmetricConv, seed=2)
    report = take_over(source, target)
    old, new = dict(source.named_modules()), dict(target.named_modules())
    for name, lost in report.projected.items():
        dense, layer = old[name.removesuffix(".weight")].weight, new[name.removesuffix(".weight")]
        kernel = layer.dense_weight()
        turned = [torch.rot90(dense, k, (2, 3)) for k in range(4)]
        mean = sum(turned + [t.flip(2) for t in turned]) / 8
        torch.testing.assert_close(kernel, mean)
        assert lost == pytest.approx(((mean - dense).norm() / dense.norm()).item(), rel=1e-4)
    assert report.left == ()
    assert report.unused == ()
    again = take_over(target, net(SymmetricConv, seed=3))
    assert again.projected == {}


def test_kernels_that_are_symmetric_already_are_copied_exactly():
    source = net(seed=1)
    take_over(net(SymmetricConv, seed=4), net(SymmetricConv, seed=4))
    for module in source.modules():
        if hasattr(module, "kernel_size"):
            torch.nn.init.constant_(module.weight, 0.5)
    target = net(SymmetricConv, seed=2)
    report = take_over(source, target)
    x = torch.randn(1, 1, 16, 16)
    assert report.projected == {}
    torch.testing.assert_close(source(x), target(x))


def test_what_the_new_network_has_besides_stays_at_init_and_masks_follow_the_weights():
    report = take_over(net(seed=1), net(seed=2, attention=ChannelAttention))
    assert report.left
    assert all("attention" in name for name in report.left)
    assert any("left at init" in line for line in report.lines())
    sparse = net(SparseConv, seed=2)
    take_over(net(seed=1), sparse)
    layer = next(m for m in sparse.modules() if hasattr(m, "mask") and not m.is_dense)
    smallest_kept, largest_cut = layer.weight[layer.mask].abs().min(), layer.weight[~layer.mask].abs().max()
    assert smallest_kept >= largest_cut


def test_a_head_of_other_classes_stays_at_init():
    target = net(seed=2, num_classes=5)
    before = target.heads.heads[0].weight.clone()
    report = take_over(net(seed=1), target)
    assert set(report.left) == {"heads.heads.0.weight", "heads.heads.0.bias"} == set(report.unused)
    assert torch.equal(target.heads.heads[0].weight, before)


def test_weights_that_do_not_fit_are_refused_with_names_and_nothing_is_changed():
    target = net(seed=2, channels=(4, 16))
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(
        ConfigError,
        match=r"encoder\.blocks\.1\.units\.0\.conv\.weight \(trained \(8, 4, 3, 3\), new \(16, 4, 3, 3\)\)",
    ):
        take_over(net(seed=1), target)
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())
    with pytest.raises(
        ConfigError, match=r"encoder\.blocks\.1\.units\.0\.conv \(trained \(8, 4, 3, 3\), new \(16"
    ):
        take_over(net(seed=1), net(SymmetricConv, channels=(4, 16)))
