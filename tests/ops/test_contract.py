"""Every operator of the catalogue passes the examination; each kind of broken operator fails its law."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import medconv.catalogue
from medconv.errors import ConfigError
from medconv.ops import (
    ConvFactory,
    ConvOp,
    DilatedConv,
    DynamicConv,
    GradientWeightedConv,
    StandardConv,
    SymmetricConv,
    SymmetryGroup,
    check_conv,
    conv_catalogue,
    full_group,
)
from medconv.ops.laws import IN_EVERY_GEOMETRY, IN_PLAIN_GEOMETRY

SHIPPED = {name: kind for name, kind in conv_catalogue().items() if kind.__module__.startswith("medconv.")}
UNEQUAL_AXES = {"thick slices", "flat kernel", "flat stride"}
REFUSALS = {
    "GroupConv": UNEQUAL_AXES | {"2 groups", "depthwise"},  # 4 channels are one field of C4
    "LiftingConv": UNEQUAL_AXES | {"depthwise"},
}
"""Geometries that an operator cannot have, and says so."""
CORE = {"StandardConv", "SymmetricConv", "GradientWeightedConv"}
"""Examined by the quick tests; an examination takes seconds, so the others have theirs among the slow ones."""
EXAMINED = [
    pytest.param(kind, id=name, marks=() if name in CORE else pytest.mark.slow)
    for name, kind in SHIPPED.items()
]
CHARACTERS: list[Any] = [
    partial(SymmetricConv, basis="ring"),
    pytest.param(partial(SymmetricConv, basis="orbit", group="C2"), marks=pytest.mark.slow, id="orbit of C2"),
    partial(GradientWeightedConv, border="partial", contrast_per_mm=0.5),
]


class _ZeroMeanConv(StandardConv):
    """What a third party might write: the kernel minus its mean, so constant regions vanish."""

    neutral = None

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.dense_weight())

    def dense_weight(self) -> Tensor:
        axes = tuple(range(2, self.weight.dim()))
        return self.weight - self.weight.mean(dim=axes, keepdim=True)


class _PickyConv(_ZeroMeanConv):
    """Supports no dilation, and says so."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if max(self.dilation) > 1:
            raise ConfigError(f"expected dilation 1, got {self.dilation}")


@pytest.mark.parametrize("kind", EXAMINED)
def test_shipped_operator_passes(kind: type[ConvOp]) -> None:
    report = check_conv(kind, backend=None)
    assert len(report.held) + len(report.not_applicable) == len(IN_EVERY_GEOMETRY) + len(IN_PLAIN_GEOMETRY)
    assert {where.split(", ", 1)[1] for where in report.refused} <= REFUSALS.get(kind.__name__, set())


@pytest.mark.parametrize("factory", CHARACTERS, ids=lambda f: str(f.keywords))
def test_other_characters_pass(factory: ConvFactory) -> None:
    check_conv(factory, backend=None)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("kind", SHIPPED.values(), ids=SHIPPED)
def test_shipped_operator_compiles(kind: type[ConvOp], backend: Any) -> None:
    report = check_conv(kind, backend=backend)
    assert any(law.startswith("torch.compile takes it whole") for law in report.held)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", SHIPPED.values(), ids=SHIPPED)
def test_shipped_operator_passes_on_a_gpu(kind: type[ConvOp]) -> None:
    check_conv(kind, device="cuda", backend="inductor")


RECORDED = {
    **{name: partial(kind) for name, kind in SHIPPED.items()},
    "pairwise": partial(GradientWeightedConv, mode="pairwise"),
    "feature guide": partial(GradientWeightedConv, guide="feature"),
    "rates in groups": partial(DilatedConv, rates=[1, 2], groups=2),
    "ring": partial(SymmetricConv, basis="ring"),
    "gates": partial(DynamicConv, gates=["inputs", "outputs", "taps"]),
}


@pytest.mark.filterwarnings(
    "ignore:The AccumulateGrad node"
)  # parameters are used on two streams, on purpose
@pytest.mark.gpu
@pytest.mark.parametrize("build", RECORDED.values(), ids=RECORDED)
def test_operator_can_be_recorded_on_a_gpu(build: partial[ConvOp]) -> None:
    conv, x = _on_gpu(build)
    guide = [torch.rand(2, conv.guide_channels, *x.shape[2:], device="cuda")] if conv.needs_guide else []

    def run() -> tuple[torch.Tensor, ...]:
        y = conv(x, *guide)
        wanted = [x, *(p for p in conv.parameters() if p.requires_grad)]
        return y, *torch.autograd.grad(y.square().mean(), wanted, allow_unused=True)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        run()
        run()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = run()
    with torch.no_grad():  # whatever was baked in shows
        for tensor in (x, *guide, *conv.parameters()):
            tensor.mul_(0.9).add_(0.05)
    graph.replay()
    for a, b in zip(got, run(), strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            torch.testing.assert_close(a, b, atol=1e-2 * float(b.detach().abs().max()), rtol=1e-2)


def _on_gpu(build: partial[ConvOp]) -> tuple[ConvOp, torch.Tensor]:
    for kernel in (3, 5):  # some operators take large kernels only
        try:
            conv = build(3, 8, 8, kernel).cuda()
        except ConfigError:
            continue
        return conv, torch.randn(2, 8, 8, 8, 8, device="cuda", requires_grad=True)
    raise AssertionError("takes neither kernel 3 nor 5")


def test_third_party_operator_passes_and_is_reported() -> None:
    report = check_conv(_ZeroMeanConv, backend=None)
    assert "names no neutral setting" in report.not_applicable.values()
    text = str(report)
    assert text.startswith("_ZeroMeanConv: 11 laws hold")
    assert "n/a    The layer commutes" not in text, "its kernel of one is symmetric"


def test_refused_geometry_is_reported_with_its_reason() -> None:
    report = check_conv(_PickyConv, dims=(3,), backend=None)
    assert report.refused == {"3-D, dilation 2": "expected dilation 1, got (2, 2, 2)"}


def test_plug_ins_are_announced_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    class Plugin:
        def load(self) -> None:
            class PluginConv(_ZeroMeanConv):
                pass

            loaded.append(PluginConv)

    def entry_points(*, group: str) -> list[Plugin]:
        return [Plugin()] if group == "medconv.convs" else []

    monkeypatch.setattr(medconv.catalogue, "entry_points", entry_points)
    found = conv_catalogue()
    assert found["PluginConv"] is loaded[0]
    assert "_ZeroMeanConv" not in found


class _Overwrites(StandardConv):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.mul_(self.weight.abs() > 0.1)
        return super().forward(x)


class _OverwritesInTraining(_Overwrites):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else self.convolve(x, self.weight)


class _Squeezes(StandardConv):
    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(2).mean(dim=2).squeeze()
        return super().forward(x * mean.sum(dim=1).view(-1, *[1] * (x.dim() - 1)))


class _LiesAboutSymmetry(StandardConv):
    def symmetry(self, spacing_mm: Any = None) -> SymmetryGroup:
        return full_group(self.spatial_dims)


class _ForgetsTheSpacing(SymmetricConv):
    def symmetry(self, spacing_mm: Any = None) -> SymmetryGroup:
        return full_group(self.spatial_dims)


class _FoldsWrongly(StandardConv):
    def fold(self) -> nn.Module:
        plain = super().fold()
        nn.init.zeros_(plain.bias) if plain.bias is not None else nn.init.ones_(plain.weight)
        return plain


class _FoldsToItself(GradientWeightedConv):
    def fold(self) -> nn.Module:
        return self


class _HasAnotherKernel(StandardConv):
    def dense_weight(self) -> Tensor:
        return self.weight.flip(2)


class _MixesCases(StandardConv):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(dim=0, keepdim=True))


class _Rolls(StandardConv):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.1 * torch.rand_like(x))


class _Pads(StandardConv):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(super().forward(x), [0, 1])


class _LosesTheGradient(StandardConv):
    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.weight.detach())


class _ClipsTheGradient(StandardConv):
    def dense_weight(self) -> Tensor:
        return self.weight + 0.5 * (self.weight - self.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.dense_weight())


class _TakesAnything(StandardConv):
    def check_input(self, x: Tensor) -> None:
        pass


class _SavesTwice(StandardConv):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.twin = nn.ParameterList([self.weight])


class _HoldsALambda(StandardConv):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.activation = lambda x: x


class _KeepsStateOutside(StandardConv):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scale = torch.rand(()).item()

    def dense_weight(self) -> Tensor:
        return self.scale * self.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.dense_weight())


class _OverflowsInHalf(StandardConv):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1e5 / 1e5


class _IsNeverPlain(GradientWeightedConv):
    neutral: ClassVar[dict[str, Any] | None] = {"border": "partial"}


class _HasTooFewNumbers(SymmetricConv):
    neutral: ClassVar[dict[str, Any] | None] = {"group": "auto"}


class _BreaksTheGraph(StandardConv):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if float(x.detach().sum()) else x


BROKEN: list[tuple[type[ConvOp], str]] = [
    (_Overwrites, "A forward pass changes no parameter.*forward overwrote weight"),
    (_OverwritesInTraining, "A forward pass changes no parameter.*forward overwrote weight"),
    (_Squeezes, "at batch 1.*IndexError"),
    (_LiesAboutSymmetry, "commutes with every element.*declares D4, but under .* relative error"),
    (_FoldsWrongly, "Folding gives a plain convolution.*relative error"),
    (_FoldsToItself, r"Folding gives.*yet fold\(\) does not raise ConfigError"),
    (_HasAnotherKernel, "that of its dense kernel.*relative error"),
    (_MixesCases, "same output alone and in a batch.*relative error"),
    (_Pads, r"Output shapes follow the geometry.*expected \(1, 8, 7, 6\) for input"),
    (_LosesTheGradient, "every parameter receives one.*no gradient reaches weight"),
    (_ClipsTheGradient, "agree with finite differences.*GradcheckError"),
    (_TakesAnything, "another rank or channel count is refused.*RuntimeError"),
    (_SavesTwice, r"saved, once.*weight is saved as \['weight', 'twin.0'\]"),
    (_HoldsALambda, "Pickle, deepcopy and state_dict"),
    (_KeepsStateOutside, "same operator.*after state_dict: relative error"),
    (_OverflowsInHalf, "Under bfloat16 and float16 autocast.*relative error (inf|nan) in torch.float16"),
    (_IsNeverPlain, "At its neutral setting.*with {'border': 'partial'}: relative error"),
    (_HasTooFewNumbers, "At its neutral setting.*parameters cannot give every kernel"),
]


@pytest.mark.parametrize(("kind", "law"), BROKEN, ids=[kind.__name__ for kind, _ in BROKEN])
def test_broken_operator_fails_its_law(kind: type[ConvOp], law: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s)^{kind.__name__} breaks the law: .*{law}"):
        check_conv(kind, dims=(2,), backend=None)


@pytest.mark.slow
def test_operator_that_breaks_the_graph_fails_its_law() -> None:
    with pytest.raises(AssertionError, match=r"breaks the law: torch\.compile takes it whole"):
        check_conv(_BreaksTheGraph, dims=(2,))
    check_conv(_BreaksTheGraph, dims=(2,), backend=None)


def test_random_operator_is_found_out() -> None:
    with pytest.raises(AssertionError, match="breaks the law: "):
        check_conv(_Rolls, dims=(2,), backend=None)


def test_symmetry_is_examined_on_thick_slices_too() -> None:
    with pytest.raises(AssertionError, match=r"In 3-D, thick slices: declares Oh, but under"):
        check_conv(_ForgetsTheSpacing, dims=(3,), backend=None)


def test_what_is_no_operator_is_named() -> None:
    with pytest.raises(AssertionError, match="expected the factory to build a ConvOp, got Identity"):
        check_conv(nn.Identity, dims=(2,), backend=None)  # type: ignore[arg-type]


def test_first_geometry_must_be_supported() -> None:
    with pytest.raises(AssertionError, match="In 3-D, plain geometry: ConfigError: rings have the whole"):
        check_conv(partial(SymmetricConv, group="D4", basis="ring"), dims=(3,), backend=None)
