from __future__ import annotations

import io
from functools import partial

import pytest
import torch

from medconv.errors import ConfigError, ShapeError
from medconv.ops import SparseConv, StandardConv, check_conv

PATTERNS = [
    {"sparsity": 0.7},
    {"pattern": "2:4"},
    {"pattern": "1:4"},
    {"pattern": "channels", "sparsity": 0.25},
]


def zeros(weight: torch.Tensor) -> int:
    return int((weight == 0).sum())


def step(conv: SparseConv, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    conv(torch.randn(2, conv.in_channels, 6, 6)).square().mean().backward()
    optimiser.step()


@pytest.mark.parametrize("gradient", ["masked", "straight_through"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("optimiser", [torch.optim.AdamW, partial(torch.optim.SGD, lr=0.1, momentum=0.9)])
def test_the_level_is_exact_after_any_number_of_steps(
    gradient: str, sparsity: float, optimiser: type
) -> None:
    torch.manual_seed(0)
    conv = SparseConv(2, 8, 12, sparsity=sparsity, gradient=gradient)
    expected = 864 - round((1 - sparsity) * 864)
    assert zeros(conv.dense_weight()) == expected
    made = optimiser(conv.parameters())
    for number in range(12):
        step(conv, made)
        if number % 5 == 4:
            conv.update_mask()
        assert zeros(conv.dense_weight()) == expected
        assert zeros(conv.fold().weight) == expected
    stored = io.BytesIO()
    torch.save(conv.state_dict(), stored)
    stored.seek(0)
    state = torch.load(stored, weights_only=True)
    assert int((~state["mask"]).sum()) == expected
    other = SparseConv(2, 8, 12, sparsity=0.5)
    other.load_state_dict(state)
    assert torch.equal(other.dense_weight(), conv.dense_weight())
    assert zeros(other.dense_weight()) == expected


def test_the_level_is_exact_with_ties() -> None:
    conv = SparseConv(2, 8, 12, sparsity=0.5)
    torch.nn.init.constant_(conv.weight, 0.25)
    conv.update_mask()
    assert zeros(conv.dense_weight()) == 432


@pytest.mark.parametrize("character", PATTERNS, ids=str)
def test_every_pattern_passes_the_examination(character: dict[str, object]) -> None:
    check_conv(partial(SparseConv, **character), dims=(2,), backend=None)  # type: ignore[arg-type]


def test_a_forward_pass_leaves_the_weight_untouched() -> None:
    conv = SparseConv(2, 8, 8)
    version, mask_version = conv.weight._version, conv.mask._version
    conv(torch.randn(1, 8, 6, 6)).sum().backward()
    assert (conv.weight._version, conv.mask._version) == (version, mask_version)


def test_gradients_are_masked_or_dense_as_asked() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 6)
    masked, through = SparseConv(2, 8, 8), SparseConv(2, 8, 8, gradient="straight_through")
    through.load_state_dict(masked.state_dict())
    plain = StandardConv(2, 8, 8)
    plain.load_state_dict({"weight": masked.dense_weight(), "bias": masked.bias})
    for conv in (masked, through, plain):
        conv(x).square().mean().backward()
    assert zeros(masked.weight.grad[~masked.mask]) == int((~masked.mask).sum())
    torch.testing.assert_close(through.weight.grad, plain.weight.grad)
    torch.testing.assert_close(masked.weight.grad, plain.weight.grad * masked.mask)
    assert torch.equal(masked(x), through(x))


def test_level_zero_is_bitwise_plain() -> None:
    torch.manual_seed(0)
    plain = StandardConv(3, 4, 4)
    torch.manual_seed(0)
    conv = SparseConv(3, 4, 4, sparsity=0.0)
    x = torch.randn(1, 4, 5, 5, 5)
    assert torch.equal(conv(x), plain(x))


def test_n_of_m_holds_in_every_group() -> None:
    conv = SparseConv(3, 8, 6, pattern="2:4")
    kept = conv.mask.reshape(6, 2, 4, 27).sum(dim=2)
    assert (kept == 2).all()
    grouped = SparseConv(3, 8, 6, pattern="1:4", groups=2)
    assert (grouped.mask.reshape(6, 1, 4, 27).sum(dim=2) == 1).all()


def test_channels_are_kept_or_zero_as_a_whole() -> None:
    conv = SparseConv(2, 8, 12, pattern="channels", sparsity=0.75)
    live = conv.dense_weight().flatten(1).abs().sum(dim=1) > 0
    assert int(live.sum()) == 3
    norms = conv.weight.flatten(1).norm(dim=1)
    assert norms[live].min() >= norms[~live].max()


def test_layers_with_few_inputs_stay_dense() -> None:
    assert SparseConv(2, 1, 8, pattern="2:4").zero_share == 0
    assert SparseConv(2, 8, 8, groups=8).zero_share == 0
    assert SparseConv(2, 1, 8, dense_below=1, sparsity=0.5).zero_share == 0.5


def test_a_mask_can_be_set() -> None:
    conv = SparseConv(2, 4, 4)
    conv.set_mask(torch.ones(4, 4, 3, 3, dtype=torch.bool))
    assert conv.zero_share == 0
    with pytest.raises(ShapeError, match=r"a bool mask of shape \(4, 4, 3, 3\), got \(4, 4\) torch.float32"):
        conv.set_mask(torch.ones(4, 4))


@pytest.mark.parametrize(
    ("character", "text"),
    [
        ({"sparsity": 1.0}, r"expected sparsity from 0 up to, not including, 1 .* got 1.0"),
        ({"sparsity": -0.1}, "got -0.1"),
        ({"sparsity": float("nan")}, "got nan"),
        (
            {"pattern": "2:3"},
            "channels a group divisible by 3 for the pattern '2:3', got 8; change the channels, or",
        ),
        ({"pattern": "4:2"}, "'n:m' with n below m, such as '2:4'; got '4:2'"),
        ({"pattern": "top"}, "expected pattern 'magnitude', 'channels' or 'n:m'.*got 'top'"),
        ({"pattern": "2:4", "sparsity": 0.9}, "pattern '2:4' has a sparsity of 0.5, got 0.9"),
        ({"gradient": "none"}, "expected gradient 'masked' or 'straight_through', got 'none'"),
    ],
)
def test_bad_settings_are_refused(character: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        SparseConv(2, 8, 8, **character)  # type: ignore[arg-type]
