"""The laws of a convolution operator; each is a function that raises where its law is broken.

The first line of a docstring is the name of the law. ``contract.check_conv`` holds the examination.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from medconv.errors import ConfigError, ShapeError
from medconv.ops.base import ConvOp
from medconv.ops.probe import (
    NotApplicableError,
    Probe,
    naive_convolution,
    naive_size,
    require,
    symmetric_size,
)
from medconv.ops.standard import StandardConv
from medconv.ops.symmetry import act, full_group

Law = Callable[[Probe], None]

_EXACT = 1e-10
_AUTOCAST = {torch.bfloat16: 2e-2, torch.float16: 5e-3}


def keeps_shapes(probe: Probe) -> None:
    """Output shapes follow the geometry, at even, odd and unequal sizes and at batch 1."""
    op = probe.build()
    for size in (probe.size, tuple(n + 1 for n in probe.size)):
        for batch in (1, 2):
            y = op(*probe.feed(op, size, batch))
            expected = (batch, op.out_channels, *naive_size(op, size))
            require(op.out_channels == probe.out_channels, f"out_channels became {op.out_channels}")
            require(tuple(y.shape) == expected, f"expected {expected} for input {size}, got {tuple(y.shape)}")
            require(y.dtype == torch.float64, f"expected the input's dtype float64, got {y.dtype}")
        require(
            op.output_shape(size) == naive_size(op, size), f"output_shape({size}) is {op.output_shape(size)}"
        )
        require(op.macs(size) > 0, f"macs({size}) is {op.macs(size)}")


def follows_definition(probe: Probe) -> None:
    """The output is that of its dense kernel, tap by tap."""
    op = probe.build()
    weight = _dense(op)
    require(
        weight.shape == op.weight_shape,
        f"dense_weight has shape {tuple(weight.shape)}, not {op.weight_shape}",
    )
    (x,) = probe.feed(op, probe.size)[:1]
    _require_close(op(*probe.feed(op, probe.size)), naive_convolution(op, x, weight), _EXACT)


def folds(probe: Probe) -> None:
    """Folding gives a plain convolution with the same output, or a clear refusal."""
    op = probe.build()
    if op.dense_weight() is None:
        try:
            op.fold()
        except ConfigError:
            raise NotApplicableError("depends on its input; fold refuses, as it should") from None
        raise AssertionError("dense_weight() is None, yet fold() does not raise ConfigError")
    plain = op.fold()
    require(
        type(plain) in (nn.Conv2d, nn.Conv3d), f"fold gave {type(plain).__name__}, not a plain convolution"
    )
    inputs = probe.feed(op, probe.size)
    _require_close(op(*inputs), plain(inputs[0]), _EXACT)


def treats_cases_alone(probe: Probe) -> None:
    """In evaluation a case has the same output alone and in a batch."""
    op = probe.build()
    inputs = probe.feed(op, probe.size, batch=3)
    together = op(*inputs)
    for i in range(3):
        _require_close(op(*(value[i : i + 1] for value in inputs)), together[i : i + 1], 1e-12)


def repeats_itself(probe: Probe) -> None:
    """A forward pass changes no parameter, and the next one gives the same output."""
    op = probe.build()
    before = {name: value.clone() for name, value in op.named_parameters()}
    inputs = probe.feed(op, probe.size)
    for is_training in (True, False):
        op.train(is_training)
        op(*inputs)
        changed = [name for name, value in op.named_parameters() if not torch.equal(value, before[name])]
        require(not changed, f"forward overwrote {', '.join(changed)}")
    require(torch.equal(op(*inputs), op(*inputs)), "two passes over the same input differ")


def has_declared_symmetry(probe: Probe) -> None:
    """The layer commutes with every element of the symmetry that it declares."""
    op = probe.build()
    group = op.symmetry()
    if group is None:
        raise NotApplicableError("declares no symmetry")
    require(
        group <= full_group(op.spatial_dims), f"declares {group.name}, which is no {op.spatial_dims}-D group"
    )
    x, *guide = probe.feed(op, symmetric_size(op))
    y = op(x, *guide)
    for element in group:
        moved = op(op.turn_input(x, element), *(act(value, element) for value in guide))
        _require_close(
            moved, op.turn_output(y, element), _EXACT, f"declares {group.name}, but under {element}: "
        )


def has_right_gradients(probe: Probe) -> None:
    """Gradients agree with finite differences, and every parameter receives one."""
    op = probe.build()
    x, *guide = probe.feed(op, probe.size, batch=1)
    names = [name for name, _ in op.named_parameters()]

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(op, dict(zip(names, values, strict=True)), (x, *guide))

    inputs = (x.requires_grad_(), *(p.detach().clone().requires_grad_() for p in op.parameters()))
    call(*inputs).square().sum().backward()
    without = [name for name, value in zip(names, inputs[1:], strict=True) if value.grad is None]
    require(not without, f"no gradient reaches {', '.join(without)}")
    # a GPU adds up in any order, so two backward passes may differ in the last digits
    torch.autograd.gradcheck(call, inputs, fast_mode=True, nondet_tol=_EXACT)


def refuses_other_shapes(probe: Probe) -> None:
    """An input of another rank or channel count is refused with a ShapeError."""
    op = probe.build()
    x, *guide = probe.feed(op, probe.size)
    for name, wrong in (("rank", x[..., 0]), ("channel count", x[:, 1:])):
        try:
            op(wrong, *guide)
        except ShapeError:
            continue
        raise AssertionError(f"an input of another {name} {tuple(wrong.shape)} raises no ShapeError")


def saves_weights_once(probe: Probe) -> None:
    """Every parameter is saved, once and under its own name."""
    op = probe.build()
    state = op.state_dict(keep_vars=True)
    for name, parameter in op.named_parameters():
        homes = [key for key, value in state.items() if value is parameter]
        require(homes == [name], f"{name} is saved as {homes}")


def survives_travel(probe: Probe) -> None:
    """Pickle, deepcopy and state_dict bring back the same operator."""
    op = probe.build()
    other = probe.build(seed=1)
    other.load_state_dict(op.state_dict())
    inputs = probe.feed(op, probe.size)
    expected = op(*inputs)
    packed = pickle.dumps(op)
    copies = {"pickle": pickle.loads(packed), "deepcopy": copy.deepcopy(op), "state_dict": other}  # noqa: S301
    for way, twin in copies.items():
        _require_close(twin(*inputs), expected, 0.0, f"after {way}: ")


def stays_finite_in_autocast(probe: Probe) -> None:
    """Under bfloat16 and float16 autocast outputs are close and gradients finite."""
    op = probe.build(torch.float32)
    inputs = probe.feed(op, probe.size, dtype=torch.float32)
    expected = op(*inputs)
    for dtype, tolerance in _AUTOCAST.items():
        op.zero_grad()
        with torch.autocast(inputs[0].device.type, dtype=dtype):
            y = op(*inputs)
        error = (y.float() - expected).norm() / expected.norm()
        require(error <= tolerance, f"relative error {error:.1e} in {dtype}, allowed {tolerance}")
        y.float().square().mean().backward()
        bad = [n for n, p in op.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        require(not bad, f"in {dtype} the gradient of {', '.join(bad)} is not finite")


def is_plain_when_neutral(probe: Probe) -> None:
    """At its neutral setting the operator equals StandardConv with the same kernel."""
    kind = type(probe.build())
    if kind.neutral is None:
        raise NotApplicableError("names no neutral setting")
    op = probe.place(kind(**probe.geometry(), **kind.neutral))
    plain = StandardConv(**probe.geometry()).to(probe.device, torch.float64)
    kernel = op.dense_weight() if op.is_foldable else op.get_parameter("weight")
    plain.load_state_dict({"weight": kernel} | ({} if op.bias is None else {"bias": op.dense_bias()}))
    free = sum(p.numel() for p in op.parameters()) - (0 if op.bias is None else op.out_channels)
    require(free >= prod(op.weight_shape), f"{free} parameters cannot give every kernel of {op.weight_shape}")
    inputs = probe.feed(op, probe.size)
    _require_close(op(*inputs), plain(inputs[0]), _EXACT, f"with {kind.neutral}: ")


def compiles(probe: Probe, backend: str) -> None:
    """torch.compile takes it whole, forwards and backwards, with the same output."""
    op = probe.build(torch.float32)
    inputs = probe.feed(op, probe.size, dtype=torch.float32)
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own deprecations say nothing about the operator
        y = torch.compile(op, fullgraph=True, backend=backend)(*inputs)
        y.square().mean().backward()
    is_rounded_to_tf32 = inputs[0].is_cuda
    _require_close(y, op(*inputs), 5e-3 if is_rounded_to_tf32 else 1e-5)


IN_EVERY_GEOMETRY: tuple[Law, ...] = (
    keeps_shapes,
    repeats_itself,
    treats_cases_alone,
    follows_definition,
    folds,
    has_declared_symmetry,
    has_right_gradients,
)
IN_PLAIN_GEOMETRY: tuple[Law, ...] = (
    refuses_other_shapes,
    saves_weights_once,
    survives_travel,
    stays_finite_in_autocast,
    is_plain_when_neutral,
)


def _dense(op: ConvOp) -> Tensor:
    weight = op.dense_weight()
    if weight is None:
        raise NotApplicableError("depends on its input, so it has no dense kernel")
    return weight


def _require_close(got: Tensor, expected: Tensor, tolerance: float, where: str = "") -> None:
    require(
        got.shape == expected.shape, f"{where}shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    )
    error = float((got - expected).detach().abs().max() / expected.detach().abs().max().clamp(min=1))
    require(error <= tolerance, f"{where}relative error {error:.1e}, allowed {tolerance:.0e}")
