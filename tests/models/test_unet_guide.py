from __future__ import annotations

from functools import partial
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.models import UNet, edge_guide
from medconv.ops import GradientWeightedConv, StandardConv, gradient_energy

SPACING = (2.0, 1.0)


def guided_net(**options: object) -> UNet:
    torch.manual_seed(0)
    net = UNet(2, 2, 2, channels=(2, 3, 4), conv=GradientWeightedConv, spacing_mm=SPACING, **options)  # type: ignore[arg-type]
    for module in net.modules():
        if isinstance(module, GradientWeightedConv):
            nn.init.constant_(module.rho_alpha, 0.7)
    return net.eval()


def guides_seen(net: UNet, x: Tensor) -> dict[str, Tensor]:
    seen = {}

    def note(name: str) -> object:
        return lambda _, args, __: seen.update({name: args[1]})

    for name, module in net.named_modules():
        if isinstance(module, GradientWeightedConv):
            module.register_forward_hook(note(name))  # type: ignore[arg-type]
    with torch.no_grad():
        net(x)
    return seen


def test_each_stage_gets_the_average_of_the_energy_of_the_unpadded_image() -> None:
    net, x = guided_net(), torch.randn(1, 2, 7, 10)
    seen = guides_seen(net, x)
    energy = F.pad(gradient_energy(x, SPACING), (1, 1, 0, 1))
    assert net.divisor == (2, 4)
    pyramid = {"0": energy, "1": F.avg_pool2d(energy, (1, 2)), "2": F.avg_pool2d(energy, (2, 4))}
    assert len(seen) == 10
    for name, guide in seen.items():
        torch.testing.assert_close(guide, pyramid[name.split(".")[2]])


def test_the_energy_is_computed_once_a_pass() -> None:
    net = guided_net()
    with patch.object(edge_guide, "gradient_energy", wraps=gradient_energy) as counted:
        net(torch.randn(1, 2, 8, 8))
    assert counted.call_count == 1


def test_it_is_computed_in_float32_under_autocast() -> None:
    net, x = guided_net(), torch.randn(1, 2, 8, 8) * 300
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = guides_seen(net, x)
    assert {g.dtype for g in seen.values()} == {torch.float32}
    torch.testing.assert_close(seen["encoder.blocks.0.units.0.conv"], gradient_energy(x, SPACING))


def test_no_energy_is_computed_where_no_operator_wants_it() -> None:
    assert UNet(2, 1, 2, channels=(2, 3), conv=StandardConv).guide is None
    mixed = UNet(2, 1, 2, channels=(2, 3), conv=[StandardConv, GradientWeightedConv])
    assert mixed.guide is not None


def test_no_gradient_flows_into_the_image_through_the_guide() -> None:
    net = guided_net()
    guide = net.guide
    assert guide is not None
    assert not guide(torch.randn(1, 2, 8, 8, requires_grad=True)).requires_grad


@pytest.mark.parametrize("downsample", ["max", "stride"])
def test_the_guide_changes_the_result(downsample: str) -> None:
    net, x = guided_net(downsample=downsample), torch.randn(1, 2, 8, 8)
    y = net(x)
    for module in net.modules():
        if isinstance(module, GradientWeightedConv):
            nn.init.zeros_(module.rho_alpha)
    assert not torch.allclose(net(x), y, atol=1e-3)


def test_pairs_get_the_pyramid_of_the_image_behind_the_energy() -> None:
    convs = [StandardConv, GradientWeightedConv, partial(GradientWeightedConv, mode="pairwise")]
    net = UNet(2, 2, 2, channels=(2, 3, 4), conv=convs, spacing_mm=SPACING, guide_derivative="scharr").eval()
    x = torch.randn(1, 2, 8, 8)
    seen = guides_seen(net, x)
    guide = torch.cat([gradient_energy(x, SPACING, derivative="scharr"), x], dim=1)
    assert {g.shape[1] for g in seen.values()} == {3}
    torch.testing.assert_close(seen["encoder.blocks.2.units.0.conv"], F.avg_pool2d(guide, (2, 4)))
    net.train()(x).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_features_need_no_guide_from_the_network() -> None:
    net = UNet(2, 2, 2, channels=(2, 3), conv=partial(GradientWeightedConv, guide="feature"))
    assert net.guide is None
    assert net(torch.randn(1, 2, 8, 8)).isfinite().all()


def test_a_derivative_for_nobody_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="guide_derivative='scharr' has no effect: no operator wants a guide"
    ):
        UNet(2, 1, 2, channels=(2, 3), guide_derivative="scharr")
