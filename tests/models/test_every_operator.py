"""Every operator of the catalogue works per stage from plain settings, and trains."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from medconv.models import build_network, fold
from medconv.ops import ConvOp, conv_catalogue

SHIPPED = sorted(n for n, kind in conv_catalogue().items() if kind.__module__.startswith("medconv."))
NETWORK = """
class_path: UNet
init_args:
  spatial_dims: {dims}
  in_channels: 1
  num_classes: 2
  channels: [4, 8]
  conv: [{first}, {second}]
  spacing_mm: {spacing}
"""


def network(dims: int, first: str, second: str) -> nn.Module:
    torch.manual_seed(0)
    spacing = [2.5, 1.0, 1.0][:dims]
    text = NETWORK.format(dims=dims, first=first, second=second, spacing=spacing)
    return build_network(yaml.safe_load(text))


def case(dims: int) -> tuple[Tensor, Tensor]:
    """Two noisy images of a bright ball, and where it is."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, 8)] * dims, indexing="ij")
    ball = (sum(a.square() for a in axes) < 0.5).long()
    label = torch.stack([ball, ball.roll(1, 0)])
    noise = torch.randn(label.shape, generator=generator)
    return (label + 0.3 * noise).unsqueeze(1), label


def losses(net: nn.Module, dims: int, steps: int, dtype: torch.dtype | None = None) -> list[float]:
    image, label = case(dims)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-2)
    history = []
    for _ in range(steps):
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            logits = net(image)
        loss = F.cross_entropy(logits.float(), label)
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    return history


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("dims", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_it_stands_at_one_stage_and_plain_convolution_at_the_other(name: str, dims: int) -> None:
    net = network(dims, "StandardConv", name)
    kinds = {type(m).__name__ for m in net.encoder.blocks[1].modules() if isinstance(m, ConvOp)}
    assert kinds == {name}
    image, _ = case(dims)
    with torch.no_grad():
        y = net.eval()(image)
        assert y.shape == (2, 2, *image.shape[2:])
        torch.testing.assert_close(fold(net)(image), y, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("dims", "dtype"),
    [
        (2, torch.bfloat16),
        (3, None),
        pytest.param(2, None, marks=pytest.mark.slow),
        pytest.param(3, torch.bfloat16, marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_short_fit_reduces_the_loss(name: str, dims: int, dtype: torch.dtype | None) -> None:
    history = losses(network(dims, name, name), dims, steps=8, dtype=dtype)
    assert all(torch.isfinite(torch.tensor(history)))
    assert history[-1] < 0.9 * history[0], history


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_short_compiled_fit_reduces_the_loss(name: str, dims: int) -> None:
    net = network(dims, name, name)
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own deprecations say nothing about the operator
        history = losses(torch.compile(net, backend="aot_eager"), dims, steps=8)
    assert history[-1] < 0.9 * history[0], history
