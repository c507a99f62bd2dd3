from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medconv.attention import (
    CBAM,
    Attention,
    AttentionGate,
    ChannelAttention,
    SkipAttention,
    SpatialAttention,
    attention_catalogue,
    skip_attention_catalogue,
)
from medconv.errors import ConfigError, ShapeError
from medconv.ops import act, full_group

LAYERS = {
    name: kind for name, kind in attention_catalogue().items() if kind.__module__.startswith("medconv.")
}
every_layer = pytest.mark.parametrize("kind", LAYERS.values(), ids=LAYERS)
SIZES = {2: (6, 5), 3: (4, 5, 3)}
CHARACTERS: dict[str, partial[Attention]] = {
    **{name: partial(kind) for name, kind in LAYERS.items()},
    "symmetric window": partial(SpatialAttention, symmetric=True),
    "pointwise": partial(SpatialAttention, kind="pointwise"),
    "symmetric CBAM": partial(CBAM, symmetric=True),
}
every_character = pytest.mark.parametrize("make", CHARACTERS.values(), ids=CHARACTERS)


def awake(layer: nn.Module) -> Any:
    """The layer away from its start, in float64."""
    generator = torch.Generator().manual_seed(0)
    for parameter in layer.double().parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return layer


class _Halve(Attention):
    def forward(self, x: Tensor) -> Tensor:
        self.check_input(x)
        return x / 2


def test_a_layer_claims_no_symmetry_unless_it_says_so() -> None:
    assert _Halve(2, 3).symmetry() is None
    assert "_Halve" not in attention_catalogue()


def test_the_catalogue_is_complete() -> None:
    names = {"CBAM", "SCSE", "ChannelAttention", "ChannelShrinkage", "SelfAttention", "SpatialAttention"}
    assert names <= set(LAYERS)
    assert skip_attention_catalogue()["AttentionGate"] is AttentionGate


@every_layer
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


@every_layer
@pytest.mark.parametrize("channels", [1, 4, 16])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_layer_begins_as_the_identity_bit_by_bit(
    dims: int, channels: int, kind: type[Attention]
) -> None:
    layer = kind(dims, channels)
    for batch in (1, 2):
        x = torch.randn(batch, channels, *SIZES[dims])
        assert torch.equal(layer(x), x)
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype=dtype):
                y = layer(x.to(dtype))
            assert y.dtype == dtype
            assert torch.equal(y, x.to(dtype))


@every_layer
def test_every_parameter_learns_within_two_steps(kind: type[Attention]) -> None:
    # zeros at the start may hide the layers before them, but only for one step; a perceptron of few neurons may be
    # drawn with none that answers to these maps, but not every time
    names, learned = set(), set()
    for seed in range(8):
        torch.manual_seed(seed)
        layer = kind(2, 8)
        optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            (layer(torch.randn(2, 8, 6, 6)) - 1).square().mean().backward()
            optimiser.step()
        names |= {name for name, _ in layer.named_parameters()}
        learned |= {n for n, p in layer.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    # adding the same to all keys, or to all values of a constant softmax row, changes no weight
    assert names - learned == set()


@every_character
@pytest.mark.parametrize("dims", [2, 3])
def test_a_case_is_treated_alone(dims: int, make: partial[Attention]) -> None:
    layer = awake(make(dims, 4))
    x = torch.randn(3, 4, *SIZES[dims], dtype=torch.float64)
    y = layer(x)
    assert (y - x).abs().max() > 1e-3, "it is awake"
    for i in range(3):
        torch.testing.assert_close(layer(x[i : i + 1]), y[i : i + 1], atol=1e-12, rtol=0)


@every_character
@pytest.mark.parametrize("dims", [2, 3])
def test_commutes_with_the_declared_symmetry_and_no_more(dims: int, make: partial[Attention]) -> None:
    layer = awake(make(dims, 4))
    x = torch.randn(1, 4, *[5] * dims, dtype=torch.float64)
    y, group = layer(x), layer.symmetry()
    errors = {g: float((layer(act(x, g)) - act(y, g)).detach().abs().max()) for g in full_group(dims)}
    held = {g for g in errors if is_identity(g) or (group is not None and g in group.elements)}
    assert max(errors[g] for g in held) < 1e-12
    assert min([e for g, e in errors.items() if g not in held], default=1.0) > 1e-4


def is_identity(g: Any) -> bool:
    return all(g[i][i] == 1 for i in range(len(g)))


@every_character
def test_voxels_may_be_exchanged_where_it_says_so_and_nowhere_else(make: partial[Attention]) -> None:
    layer = awake(make(2, 4))
    x, order = torch.randn(2, 4, 6, 6, dtype=torch.float64), torch.randperm(36)
    shuffled = layer(x.flatten(2)[..., order].reshape(x.shape)).flatten(2)
    error = float((shuffled - layer(x).flatten(2)[..., order]).detach().abs().max())
    assert error < 1e-12 if layer.is_blind_to_places else error > 1e-3


@every_character
def test_gradients_agree_with_finite_differences(make: partial[Attention]) -> None:
    layer = awake(make(2, 4))
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(call, (x, *values), fast_mode=True)


@every_character
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_close(dtype: torch.dtype, make: partial[Attention]) -> None:
    layer = awake(make(3, 2)).float()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.1)  # gates that are neither open nor shut
    x = (4 * torch.rand(1, 2, 16, 16, 16) + 4).to(dtype).float()
    with torch.autocast("cpu", dtype=dtype):
        y = layer(x.to(dtype))
    y.float().mean().backward()
    assert y.dtype == dtype
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    error = (y.float() - layer(x)).norm() / layer(x).norm()
    assert error < {torch.bfloat16: 2e-2, torch.float16: 5e-3}[dtype]


@every_layer
def test_works_when_the_whole_module_is_half_and_on_the_meta_device(kind: type[Attention]) -> None:
    layer, x = kind(2, 8).bfloat16(), torch.randn(1, 8, 4, 4, dtype=torch.bfloat16)
    assert torch.equal(layer(x), x)
    assert kind(3, 8).to("meta")(torch.empty(1, 8, 4, 4, 4, device="meta")).shape == (1, 8, 4, 4, 4)


@every_layer
def test_every_layer_refuses_other_maps(kind: type[Attention]) -> None:
    name = kind.__name__
    with pytest.raises(ShapeError, match=rf"^{name}: expected \(B, 4, D, H, W\), got \(1, 4, 8, 8\)"):
        kind(3, 4)(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ShapeError, match=rf"^{name}: expected \(B, 4, H, W\), got \(1, 3, 8, 8\)"):
        kind(2, 4)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ConfigError, match="expected at least 1 channel, got 0"):
        kind(2, 0)


def test_a_skip_layer_needs_channels_and_two_dimensions_or_three() -> None:
    with pytest.raises(ConfigError, match="expected at least 1 channel, got 0"):
        AttentionGate(2, 0)
    with pytest.raises(ConfigError, match="expected spatial_dims 2 or 3, got 4"):
        AttentionGate(4, 8)

    class Silent(SkipAttention):
        def forward(self, skip: Tensor, decoded: Tensor) -> Tensor:
            self.check_inputs(skip, decoded)
            return skip

    assert Silent(2, 3).symmetry() is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@every_character
def test_compiles_whole(make: partial[Attention]) -> None:
    layer = awake(make(3, 4)).float()
    x = torch.randn(2, 4, 5, 5, 5)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x), atol=1e-5, rtol=1e-5)


def test_prints_what_it_is() -> None:
    assert "8, gate=centred" in repr(ChannelAttention(2, 8))
