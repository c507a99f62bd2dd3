from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from medconv.attention import CBAM, AttentionGate, SelfAttention
from medconv.blocks import ResidualBlock
from medconv.errors import ShapeError
from medconv.models import UNet, activation_bytes
from medconv.models.shadow import shadow_of
from medconv.ops import GradientWeightedConv, GroupConv, LiftingConv, SymmetricConv

NETWORKS = {
    "plain": {},
    "symmetric": {"conv": SymmetricConv},
    "gradient": {"conv": GradientWeightedConv, "block": ResidualBlock},
    "attention": {"attention": CBAM, "skip_attention": AttentionGate},
    "group": {"stem": LiftingConv, "conv": GroupConv, "norm": "batch"},
}


def really_kept(net: nn.Module, x: torch.Tensor) -> int:
    """The memory that autograd holds after a real forward pass, by address."""
    own = {t.data_ptr() for t in [*net.parameters(), *net.buffers()]}
    kept = {}

    def note(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        net(x)
    return sum(storage.nbytes() for address, storage in kept.items() if address not in own)


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_what_autograd_keeps_in_a_real_step(name: str) -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 8), **NETWORKS[name])  # type: ignore[arg-type]
    counted, kept = activation_bytes(net, (16, 16), 2), really_kept(net, torch.randn(2, 1, 16, 16))
    assert counted == pytest.approx(kept, rel=0.02)


def test_self_attention_counts_at_most_the_products_of_all_pairs_more() -> None:
    net = UNet(2, 1, 2, channels=(4, 8), attention=[None, SelfAttention])
    counted, kept = activation_bytes(net, (16, 16)), really_kept(net, torch.randn(1, 1, 16, 16))
    assert kept < counted <= kept + 2 * 4 * 64**2


def test_tied_and_expanded_kernels_are_no_weights_but_little() -> None:
    plain, tied = (
        UNet(2, 1, 2, channels=(4, 8), conv=c) for c in (partial(SymmetricConv, group="C1"), SymmetricConv)
    )
    assert activation_bytes(tied, (64, 64)) == pytest.approx(activation_bytes(plain, (64, 64)), rel=0.05)


def test_needs_no_memory_and_changes_nothing() -> None:
    net = UNet(3, 1, 2, channels=(8, 16)).eval()
    assert activation_bytes(net, (2048, 2048, 2048)) > 2**40
    assert not net.training
    assert {p.device.type for p in shadow_of(net).parameters()} == {"meta"}
    assert {p.device.type for p in net.parameters()} == {"cpu"}


def test_refuses_another_number_of_axes() -> None:
    with pytest.raises(
        ShapeError, match=r"expected input_shape with 3 entries, one a spatial axis, got \(8, 8\)"
    ):
        activation_bytes(UNet(3, 1, 2, channels=(2, 4)), (8, 8))
