from __future__ import annotations

import pytest
import torch
from torch import nn

from medconv.attention import ChannelShrinkage
from medconv.errors import ConfigError


@pytest.mark.parametrize("dims", [2, 3])
def test_published_form_is_the_soft_threshold_of_torch(dims: int) -> None:
    torch.manual_seed(0)
    layer = ChannelShrinkage(dims, 4, start="shrunk").double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 4, *(6, 5, 4)[:dims], dtype=torch.float64)
    limits, y = layer.thresholds(x), layer(x)
    magnitude = x.flatten(2).abs().mean(dim=2)
    assert ((limits > 0) & (limits < magnitude)).all()
    for n in range(2):
        for c in range(4):
            expected = nn.functional.softshrink(x[n, c], limits[n, c].item())
            torch.testing.assert_close(y[n, c], expected, atol=1e-14, rtol=0)


def test_share_of_the_threshold_is_learned_from_nothing() -> None:
    layer = ChannelShrinkage(2, 2).double()
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    published = ChannelShrinkage(2, 2, start="shrunk").double()
    published.load_state_dict({k: v for k, v in layer.state_dict().items() if k != "gamma"})
    with torch.no_grad():
        layer.gamma.copy_(torch.tensor([0.0, 1.0]))
    y = layer(x)
    assert torch.equal(y[:, 0], x[:, 0])
    torch.testing.assert_close(y[:, 1], published(x)[:, 1])


def test_raises_the_signal_to_noise_ratio_which_a_factor_cannot() -> None:
    torch.manual_seed(0)
    signal = torch.zeros(1, 1, 64, 64)
    signal[..., 30:34, 30:34] = 5.0
    noise = 0.3 * torch.randn_like(signal)
    layer = ChannelShrinkage(2, 1, start="shrunk")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.excite.last.bias.fill_(4.0)  # a threshold close to the mean magnitude

    def ratio(y: torch.Tensor) -> float:
        inside = signal > 0
        return float((y[inside].mean() / y[~inside].std()).detach())

    noisy = signal + noise
    assert ratio(layer(noisy)) > 1.3 * ratio(noisy)
    assert ratio(0.3 * noisy) == pytest.approx(ratio(noisy))


def test_scale_of_the_input_goes_through() -> None:
    # thresholds are shares of the magnitude, but for what the perceptron makes of it
    layer = ChannelShrinkage(2, 3, start="shrunk").double()
    with torch.no_grad():
        layer.excite.hidden.weight.zero_()
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(7 * x), 7 * layer(x))


def test_refuses_unknown_settings() -> None:
    with pytest.raises(
        ConfigError, match="expected start 'identity' or 'shrunk' and reduction from 1, got 'x', 8"
    ):
        ChannelShrinkage(2, 4, start="x")  # type: ignore[arg-type]
    assert "4, start=identity" in repr(ChannelShrinkage(2, 4))
