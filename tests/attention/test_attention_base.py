from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from medconv.attention import Attention, ChannelAttention, attention_catalogue, full_precision

LAYERS = {
    name: kind for name, kind in attention_catalogue().items() if kind.__module__.startswith("medconv.")
}


class _Halve(Attention):
    def forward(self, x: Tensor) -> Tensor:
        self.check_input(x)
        return x / 2


def test_a_layer_claims_no_symmetry_unless_it_says_so() -> None:
    assert _Halve(2, 3).symmetry() is None
    assert "_Halve" not in attention_catalogue()


def test_full_precision_keeps_a_product_out_of_autocast() -> None:
    x, linear = torch.randn(2, 4), nn.Linear(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x).dtype == torch.bfloat16
        with full_precision(x):
            assert linear(x).dtype == torch.float32
    with full_precision(x.to("meta")):
        assert x.dtype == torch.float32


@pytest.mark.parametrize("kind", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("dims", [2, 3])
def test_every_layer_keeps_the_shape_and_travels(kind: type[Attention], dims: int) -> None:
    layer = kind(dims, 8).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(1, 8, *(5, 4, 3)[:dims], dtype=torch.float64)
    y = layer(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), y)
    fresh = kind(dims, 8).double()
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), y)
    assert len(layer.state_dict()) == len(list(layer.parameters()))


def test_prints_what_it_is() -> None:
    assert "8, gate=centred" in repr(ChannelAttention(2, 8))
