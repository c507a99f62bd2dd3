"""What every operator and every attention layer costs beside the plain convolution, forwards and with its gradient.

    python benchmarks/operators.py                    # on a GPU: seven minutes
    python benchmarks/operators.py --device cpu       # small shapes: does everything run?

Operators are those of the catalogue, in 3-D with kernel 3 (or the smallest that they take), as many channels in as
out. An attention layer is measured behind a unit of convolution, norm and nonlinearity, beside that unit without it;
the gate of a skip takes the unit's output for the decoder's map. All under bfloat16 autocast. Each is tried contiguous
and channels-last; eager, recorded as a CUDA graph (as `fit` trains on a GPU), and at the first shape compiled and
recorded; as is plain: the best of the one is divided by the best of the other. They take turns, the cache is emptied in
between, and medians are taken over the rounds. Compilation, tuning and recording happen before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn

from medconv.attention import SkipAttention, attention_catalogue, skip_attention_catalogue
from medconv.blocks import ConvUnit
from medconv.errors import ConfigError, ShapeError
from medconv.kernels import to_channels_last, to_contiguous
from medconv.ops import ConvOp, GradientWeightedConv, StandardConv, conv_catalogue

GPU_SHAPES = ((32, 64), (64, 32), (128, 16), (256, 8), (320, 4))
CPU_SHAPES = ((16, 10), (32, 5))
"""Channels and edge of the cube at each stage; batch 2."""
BATCH, FLUSH_BYTES = 2, 256 * 2**20
LAYOUTS = {"contiguous": to_contiguous, "channels-last": to_channels_last}
KERNELS = (3, 5, 7)
COMPILE_SHARE = 0.7
"""Of the time, until which compilations start; the rest is for the other shapes."""
ENOUGH_ROUNDS, ENOUGH_S = 10, 1.5
FIRST = ("StandardConv", "SymmetricConv", "GradientWeightedConv", "ChannelAttention")
"""Compiled before the others, in case the time does not suffice for all."""
VARIANTS: dict[str, partial[ConvOp]] = {
    "GradientWeightedConv(mode='pairwise')": partial(GradientWeightedConv, mode="pairwise"),
}


@dataclass
class Row:
    """One layer at one shape: the best of its variants beside the best of plain."""

    layer: str
    kind: str
    channels: int
    size: int
    kernel: int = 3
    parameters: int = 0
    variants: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    peak_mib: float | None = None

    def best(self, what: str) -> tuple[str, float, float] | None:
        """The fastest variant, its milliseconds and those of the fastest plain layer beside it."""
        found = {name: times[f"{what}_ms"] for name, times in self.variants.items() if f"{what}_ms" in times}
        if not found:
            return None
        plain = min(t[f"plain_{what}_ms"] for t in self.variants.values() if f"plain_{what}_ms" in t)
        name = min(found, key=lambda name: found[name])
        return name, found[name], plain


class Gated(nn.Module):
    """A unit, and a gate that lets its output decide over its input."""

    def __init__(self, unit: nn.Module, gate: SkipAttention) -> None:
        super().__init__()
        self.unit, self.gate = unit, gate

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(x, self.unit(x))


def main() -> None:
    args = parse()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    bench = Bench(args)
    rows = bench.run()
    write(args, bench, rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--budget-s", type=float, default=420, help="nothing new starts after this time")
    parser.add_argument("--rounds", type=int, default=None, help="default 30 on a GPU, 3 on a CPU")
    parser.add_argument("--only", nargs="+", help="names of layers")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    args.rounds = args.rounds or (30 if args.device == "cuda" else 3)
    return args


class Bench:
    """All measurements of one run."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device = args, torch.device(args.device)
        self.is_gpu = self.device.type == "cuda"
        self.start = time.monotonic()
        self.flush = torch.empty(FLUSH_BYTES if self.is_gpu else 1, dtype=torch.uint8, device=self.device)
        self.plain: dict[tuple[str, int, str, str], Callable[[], None]] = {}
        self.plain_ways = self.ways = ("eager", "recorded") if self.is_gpu else ("eager",)
        self.rows: list[Row] = []

    def run(self) -> list[Row]:
        first, *others = GPU_SHAPES if self.is_gpu else CPU_SHAPES
        self.measure_shape(*first)
        if not self.args.no_compile:
            self.compile_all(*first)
        for shape in others:
            self.measure_shape(*shape)
        return self.rows

    def measure_shape(self, channels: int, size: int) -> None:
        self.plain_ways = self.ways
        for kind, name, build in layers(channels):
            if self.args.only is None or name in self.args.only or name == "StandardConv":
                row = Row(name, kind, channels, size)
                if self.passed() > self.args.budget_s:
                    row.failures["all"] = "not tried: out of time"
                else:
                    self.measure_eager(row, build)
                self.rows.append(row)
        self.plain.clear()
        self.say(f"{channels} channels, {size}³: done")

    def passed(self) -> float:
        return time.monotonic() - self.start

    def measure_eager(self, row: Row, build: Callable[[int], nn.Module]) -> None:
        for label in LAYOUTS:
            try:
                layer, row.kernel = smallest(build)
                row.parameters = sum(p.numel() for p in layer.parameters())
                for way in self.ways:
                    self.compare(row, layer, f"{label}, {way}", label, ("forward", "step"))
                row.peak_mib = self.peak(layer, row, label)
            except Exception as error:
                self.fail(row, label, error)

    def compile_all(self, channels: int, size: int) -> None:
        """Compiled variants of the first shape: gradients first, in the memory format that was the better."""
        self.plain_ways = (*self.ways, "compiled")
        rows = [r for r in self.rows if (r.channels, r.size) == (channels, size)]
        rows.sort(key=lambda r: FIRST.index(r.layer) if r.layer in FIRST else len(FIRST))
        builders = {name: build for _, name, build in layers(channels)}
        for what in ("step", "forward"):
            for row in rows:
                best = row.best(what)
                label = best[0].split(",")[0] if best else "contiguous"
                if self.passed() > self.args.budget_s * COMPILE_SHARE:
                    row.failures[f"{label}, compiled, {what}"] = "not tried: out of time"
                    continue
                torch.compiler.reset()
                self.plain.clear()
                try:
                    layer, _ = smallest(builders[row.layer])
                    compiled = torch.compile(layer, dynamic=False)
                    self.compare(row, compiled, f"{label}, compiled", label, (what,))
                except Exception as error:
                    self.fail(row, f"{label}, compiled, {what}", error)
                self.say(f"compiled {row.layer} ({what})")

    def compare(self, row: Row, layer: nn.Module, variant: str, label: str, whats: tuple[str, ...]) -> None:
        """Times of ``layer`` and of the best plain layer, taking turns."""
        for what in whats:
            call = self.call(layer, row, label, what, variant.split(", ")[1])
            times: list[float] = []
            plain: list[float] = []
            base = self.best_plain(row, what)
            start = time.monotonic()
            for i in range(self.args.rounds):
                if i >= ENOUGH_ROUNDS and time.monotonic() - start > ENOUGH_S:
                    break
                plain.append(self.clock(base))
                times.append(self.clock(call))
            spread = quantiles(times, n=4) if len(times) > 3 else [min(times), 0, max(times)]
            row.variants.setdefault(variant, {}).update(
                {
                    f"{what}_ms": median(times),
                    f"{what}_iqr_ms": spread[2] - spread[0],
                    f"plain_{what}_ms": median(plain),
                    f"{what}_rounds": len(times),
                }
            )

    def best_plain(self, row: Row, what: str) -> Callable[[], None]:
        """The plain layer of a kind and shape in its fastest variant."""
        key = (row.kind, row.size, what, str(row.channels))
        if key not in self.plain:
            calls = {}
            for label, way in product(LAYOUTS, self.plain_ways):
                layer = plain_layer(row.kind, row.channels)
                layer = torch.compile(layer, dynamic=False) if way == "compiled" else layer
                calls[label, way] = self.call(layer, row, label, what, way)
            times = {variant: median(self.clock(call) for _ in range(5)) for variant, call in calls.items()}
            self.plain[key] = calls[min(times, key=lambda variant: times[variant])]
        return self.plain[key]

    def call(
        self, layer: nn.Module, row: Row, label: str, what: str, way: str = "eager"
    ) -> Callable[[], None]:
        """A function without arguments that runs ``layer`` once; it has run, so nothing is tuned any more."""
        layer = LAYOUTS[label](layer.to(self.device))
        space = (row.size,) * 3
        x = torch.randn(BATCH, row.channels, *space, device=self.device, dtype=torch.bfloat16)
        x = to_channels_last(x) if label == "channels-last" else x
        inputs = [x]
        if getattr(layer, "needs_guide", False):
            inputs.append(torch.rand(BATCH, layer.guide_channels, *space, device=self.device))  # type: ignore[arg-type]
        kind = self.device.type
        if what == "forward":
            layer.eval()

            def run() -> None:
                with torch.no_grad(), torch.autocast(kind, dtype=torch.bfloat16):
                    layer(*inputs)
        else:
            layer.train()
            x.requires_grad_()
            with torch.autocast(kind, dtype=torch.bfloat16):
                gradient = torch.randn_like(layer(*inputs))

            def run() -> None:
                x.grad = None
                layer.zero_grad(set_to_none=True)
                with torch.autocast(kind, dtype=torch.bfloat16):
                    y = layer(*inputs)
                y.backward(gradient)

        for _ in range(3 if self.is_gpu else 1):
            run()
        return run if way == "eager" or not self.is_gpu else recorded(run)

    def clock(self, call: Callable[[], None]) -> float:
        """Milliseconds of one call, behind an emptied cache that also lets the CPU run ahead."""
        if not self.is_gpu:
            start = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - start)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.flush.zero_()
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end)

    def peak(self, layer: nn.Module, row: Row, label: str) -> float | None:
        """Most memory that one step takes beyond what lay there before, in MiB."""
        if not self.is_gpu:
            return None
        call = self.call(layer, row, label, "step")
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        taken = (torch.cuda.max_memory_allocated() - before) / 2**20
        return taken if row.peak_mib is None else min(taken, row.peak_mib)

    def fail(self, row: Row, variant: str, error: Exception) -> None:
        row.failures[variant] = explain(error)
        if self.is_gpu:
            torch.cuda.empty_cache()

    def say(self, text: str) -> None:
        print(f"{self.passed():6.1f} s  {text}", file=sys.stderr, flush=True)


def recorded(run: Callable[[], None]) -> Callable[[], None]:
    """The kernels of ``run`` as one CUDA graph: what they take without the time that starting them takes."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()

    def replay() -> None:
        graph.replay()

    replay.owner = run  # type: ignore[attr-defined]  # the graph reads its inputs where they lay
    return replay


def layers(channels: int) -> Iterator[tuple[str, str, Callable[[int], nn.Module]]]:
    """Kind, name and a function of the kernel size, for everything that is measured."""
    for name, kind in [*conv_catalogue().items(), *VARIANTS.items()]:
        yield "operator", name, partial(_operator, kind, channels)
    for name, attention in attention_catalogue().items():
        yield "attention", name, partial(_unit, channels, attention)
    for name, gate in skip_attention_catalogue().items():
        yield "attention", name, partial(_gated, channels, gate)


def _operator(kind: Any, channels: int, kernel: int) -> nn.Module:
    return kind(3, channels, channels, kernel, bias=False)


def _unit(channels: int, attention: Any, kernel: int) -> nn.Module:
    return ConvUnit(3, channels, channels, kernel, conv=StandardConv, attention=attention)


def _gated(channels: int, gate: Any, kernel: int) -> nn.Module:
    return Gated(_unit(channels, None, kernel), gate(3, channels))


def plain_layer(kind: str, channels: int) -> nn.Module:
    return _operator(StandardConv, channels, 3) if kind == "operator" else _unit(channels, None, 3)


def smallest(build: Callable[[int], nn.Module]) -> tuple[nn.Module, int]:
    """The layer with the smallest kernel that it takes."""
    reasons = []
    for kernel in KERNELS:
        try:
            return build(kernel), kernel
        except ConfigError as reason:
            reasons.append(str(reason))
    raise ConfigError(reasons[0])


def explain(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    expected = isinstance(error, ConfigError | ShapeError)
    return lines[0][:200] if expected else f"{type(error).__name__}: {lines[0][:160]}"


def write(args: argparse.Namespace, bench: Bench, rows: list[Row]) -> None:
    facts = {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if bench.is_gpu else f"CPU, {torch.get_num_threads()} threads",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "precision": "bfloat16 autocast",
        "batch": BATCH,
        "rounds": args.rounds,
        "seconds": round(time.monotonic() - bench.start, 1),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    name = f"operators_{'gpu' if bench.is_gpu else 'cpu'}"
    data = {**facts, "rows": [asdict(row) for row in rows]}
    (args.out / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    text = "\n".join(report(facts, rows))
    (args.out / f"{name}.md").write_text(text + "\n")
    print(text)


def report(facts: dict[str, Any], rows: list[Row]) -> Iterator[str]:
    shapes = list(dict.fromkeys((row.channels, row.size) for row in rows))
    channels, size = shapes[0]
    yield "# What operators and attention cost beside the plain convolution\n"
    yield f"`{facts['command']}`, {facts['date'][:10]}, {facts['seconds']:g} s.\n"
    yield f"{facts['device']}; torch {facts['torch']}, CUDA {facts['cuda']}, cuDNN {facts['cudnn']}; bfloat16 autocast;"
    yield f"batch {facts['batch']};"
    yield f"medians of {facts['rounds']} rounds (10 where they take long) in which the layer and plain take turns.\n"
    yield f"## {facts['batch']}×{channels}×{size}³\n"
    yield "Times over plain, the best of the variants tried; an attention layer with its unit over the unit alone.\n"
    yield "| layer | kernel | parameters | forward | forward + backward | ms | plain ms | peak MiB | best variant |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        if (row.channels, row.size) == shapes[0]:
            yield _line(row)
    yield "\n## Forward + backward at the stages of a U-Net\n"
    yield "| layer | " + " | ".join(f"{c}×{s}³" for c, s in shapes) + " | all together |"
    yield "|---" * (len(shapes) + 2) + "|"
    for name in dict.fromkeys(row.layer for row in rows):
        found = {(r.channels, r.size): r.best("step") for r in rows if r.layer == name}
        cells = [f"{best[1] / best[2]:.2f}" if (best := found.get(shape)) else "–" for shape in shapes]
        yield f"| `{name}` | " + " | ".join([*cells, _of_all(found.get(shape) for shape in shapes)]) + " |"
    failures = [(row, where, why) for row in rows for where, why in row.failures.items()]
    if failures:
        yield "\n## Not measured\n"
        for row, where, why in failures:
            yield f"- `{row.layer}` at {row.channels}×{row.size}³, {where}: {why}"


def _of_all(found: Iterable[tuple[str, float, float] | None]) -> str:
    """Time of all stages together over that of plain's, if each was measured."""
    every = list(found)
    times = [best for best in every if best]
    return (
        f"{sum(t for _, t, _ in times) / sum(t for _, _, t in times):.2f}"
        if len(times) == len(every)
        else "–"
    )


def _line(row: Row) -> str:
    forward, step = row.best("forward"), row.best("step")
    if forward is None or step is None:
        return f"| `{row.layer}` | {row.kernel} | {row.parameters} | – | – | – | – | – | failed |"
    peak = "–" if row.peak_mib is None else f"{row.peak_mib:.0f}"
    ratios = f"{forward[1] / forward[2]:.2f} | {step[1] / step[2]:.2f}"
    start = f"| `{row.layer}` | {row.kernel} | {row.parameters} | {ratios} "
    return f"{start}| {step[1]:.3f} | {step[2]:.3f} | {peak} | {step[0]} |"


if __name__ == "__main__":
    main()
