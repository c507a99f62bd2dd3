"""Every operator of the catalogue works per stage from plain settings, and trains."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.models import build_network, fold
from medconv.ops import ConvOp, conv_catalogue

SHIPPED = sorted(n for n, kind in conv_catalogue().items() if kind.__module__.startswith("medconv."))
OF_FIELDS = {"GroupConv": "D2", "LiftingConv": "C2"}
"""Operators that stand only in networks of fields, lifted in the stem and of one group behind it; their groups here."""
BESIDE_OTHERS = [name for name in SHIPPED if name not in OF_FIELDS]
IN_QUICK_TESTS = (
    "AsymmetricConv",
    "DynamicConv",
    "GradientWeightedConv",
    "MorphologicalConv",
    "SymmetricConv",
)
STANDING_QUICKLY = [
    n if n in IN_QUICK_TESTS else pytest.param(n, marks=pytest.mark.slow) for n in BESIDE_OTHERS
]
"""One of each kind of weight: folded, drawn from the image, guided by it, without a kernel, tied."""
FITTED_QUICKLY = ("SymmetricConv", "GradientWeightedConv")
FITTED = [n if n in FITTED_QUICKLY else pytest.param(n, marks=pytest.mark.slow) for n in SHIPPED]
"""A fit takes seconds an operator, so the quick tests have only the one of the demo and one with a guide."""


def network(dims: int, name: str, first: str | None = None) -> nn.Module:
    """A network of ``name`` at both stages, or with another operator at the ``first``."""
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "spatial_dims": dims,
        "in_channels": 1,
        "num_classes": 2,
        "channels": [4, 8],
        "spacing_mm": [2.5, 1.0, 1.0][:dims],
        "conv": [first or name, name],
    }
    if name in OF_FIELDS:
        group = {"group": OF_FIELDS[name]}
        for place, kind in (("stem", "LiftingConv"), ("conv", "GroupConv")):
            options[place] = {"class_path": kind, "init_args": group}
    return build_network({"class_path": "UNet", "init_args": options})


def kinds(part: nn.Module) -> set[str]:
    return {type(m).__name__ for m in part.modules() if isinstance(m, ConvOp)}


def require_same_when_folded(net: nn.Module, dims: int) -> None:
    image, _ = case(dims)
    with torch.no_grad():
        y = net.eval()(image)
        assert y.shape == (2, 2, *image.shape[2:])
        torch.testing.assert_close(fold(net)(image), y, atol=1e-5, rtol=1e-4)


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


BOTH_DIMS = pytest.mark.parametrize("dims", [pytest.param(2, marks=pytest.mark.slow), 3])


@BOTH_DIMS
@pytest.mark.parametrize("name", STANDING_QUICKLY)
def test_it_stands_at_one_stage_and_plain_convolution_at_the_other(name: str, dims: int) -> None:
    net = network(dims, name, first="StandardConv")
    assert kinds(net.encoder.blocks[0]) == {"StandardConv"}
    assert kinds(net.encoder.blocks[1]) == {name}
    require_same_when_folded(net, dims)


@BOTH_DIMS
@pytest.mark.parametrize("name", OF_FIELDS)
def test_those_of_fields_stand_in_the_stem_and_behind_it(name: str, dims: int) -> None:
    net = network(dims, name)
    assert name in SHIPPED
    assert kinds(net.stem) == {"LiftingConv"}
    assert kinds(net.encoder) == kinds(net.decoder) == {"GroupConv"}
    require_same_when_folded(net, dims)


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
@pytest.mark.parametrize("name", FITTED)
def test_a_short_fit_reduces_the_loss(name: str, dims: int, dtype: torch.dtype | None) -> None:
    history = losses(network(dims, name), dims, steps=8, dtype=dtype)
    assert all(torch.isfinite(torch.tensor(history)))
    assert history[-1] < 0.9 * history[0], history


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_short_compiled_fit_reduces_the_loss(name: str, dims: int) -> None:
    net = network(dims, name)
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own deprecations say nothing about the operator
        history = losses(torch.compile(net, backend="aot_eager"), dims, steps=8)
    assert history[-1] < 0.9 * history[0], history
