"""How long is a training step? Forward, loss, backward and update of a U-Net, in every setting that could be fastest.

    python benchmarks/step_time.py                          # on a GPU: the hippocampus network and 2 × 1 × 128³
    python benchmarks/step_time.py --tiny                   # anywhere, small shapes, to see that it runs

Each row is the median of single steps timed by events after a warm-up, in milliseconds, with peak memory. The
settings: `graph` records the step once (`GraphedStep`), `compile` is torch.compile, `last` is the memory format
channels-last. `--profile` prints where the fastest step goes, kernel by kernel.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from medconv.kernels import to_channels_last
from medconv.losses import DeepSupervisionLoss, DiceCrossEntropyLoss
from medconv.models import UNet
from medconv.ops import GradientWeightedConv, StandardConv, SymmetricConv
from medconv.training.graphed_step import GraphedStep
from medconv.training.optim import build_optimizer

CONVS = {
    "plain": StandardConv,
    "sym": partial(SymmetricConv, basis="orbit"),
    "gradient": GradientWeightedConv,
}


class Job(NamedTuple):
    name: str
    channels: tuple[int, ...]
    shape: tuple[int, ...]


HIPPOCAMPUS = Job("hippocampus", (32, 64, 128, 256), (9, 1, 40, 56, 40))
SIX_STAGES = Job("six stages", (32, 64, 128, 256, 320, 320), (2, 1, 128, 128, 128))
TINY = Job("tiny", (4, 8, 8), (2, 1, 16, 16, 8))

Setting = tuple[str, ...]


def main() -> None:
    args = parse()
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() and not args.tiny else "cpu")
    rows = []
    for job in [TINY] if args.tiny else [HIPPOCAMPUS, SIX_STAGES]:
        for words in args.settings:
            setting = tuple(word for word in words.split("+") if word != "eager")
            rows.append(measure(job, setting, args, device))
            print(line(rows[-1]), flush=True)
    write(rows, args, device)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--settings", nargs="+", default=["eager", "graph", "last", "graph+last", "graph+compile"]
    )
    parser.add_argument("--conv", choices=list(CONVS), default="plain")
    parser.add_argument(
        "--nnunet", action="store_true", help="strided and transposed convolutions, as nnU-Net"
    )
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--results", default="benchmarks/results")
    return parser.parse_args()


def measure(job: Job, setting: Setting, args: argparse.Namespace, device: torch.device) -> dict:
    gc.collect()
    torch._dynamo.reset()
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    row = {"job": job.name, "conv": args.conv, "setting": "+".join(setting) or "eager"}
    try:
        started = time.perf_counter()
        step = build_step(job, setting, args, device)
        for _ in range(5):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        row["warm_up_s"] = round(time.perf_counter() - started, 1)
        times = [time_of(step, on_gpu) for _ in range(args.steps)]
    except Exception as error:
        return row | {"error": " ".join(repr(error).split())[:300]}
    if args.profile and on_gpu:
        profile(step)
    voxels = job.shape[0] * torch.tensor(job.shape[2:]).prod().item()
    row["step_ms"] = round(statistics.median(times), 3)
    row["fastest_ms"], row["slowest_ms"] = round(min(times), 3), round(max(times), 3)
    row["mvoxel_per_s"] = round(voxels / row["step_ms"] / 1e3, 1)
    row["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None
    return row


def build_step(job: Job, setting: Setting, args: argparse.Namespace, device: torch.device):
    """One training step as a function without arguments."""
    torch.manual_seed(0)
    sampling = {"downsample": "stride", "upsample": "transpose"} if args.nnunet else {}
    network = UNet(
        3, 1, 3, channels=job.channels, conv=CONVS[args.conv], deep_supervision=True, **sampling
    ).to(device)
    network.train()
    image = torch.randn(job.shape, device=device)
    label = torch.randint(0, 3, (job.shape[0], 1, *job.shape[2:]), device=device, dtype=torch.uint8)
    if "last" in setting:
        to_channels_last(network)
        image = to_channels_last(image)
    optimizer = build_optimizer(network, "sgd", 1e-2, 3e-5, 0.99, fused=device.type == "cuda")
    loss = DeepSupervisionLoss(DiceCrossEntropyLoss())
    run = torch.compile(network) if "compile" in setting else network

    def eager(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return loss(run(image), label)

    def autocast():
        return torch.autocast(device.type, torch.bfloat16) if device.type == "cuda" else nullcontext()

    loss_of = eager
    if "graph" in setting and device.type == "cuda":
        with autocast():
            loss_of = GraphedStep(eager, network, image, label)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            value = loss_of(image, label)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimizer.step()

    return step


def time_of(step, on_gpu: bool) -> float:
    """Milliseconds of one step."""
    if not on_gpu:
        start = time.perf_counter()
        step()
        return 1e3 * (time.perf_counter() - start)
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    step()
    after.record()
    torch.cuda.synchronize()
    return before.elapsed_time(after)


def profile(step) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        for _ in range(3):
            step()
        torch.cuda.synchronize()
    events = sorted(seen.key_averages(), key=lambda e: -e.self_device_time_total)
    total = sum(e.self_device_time_total for e in events)
    print(f"  kernels: {total / 3e3:.2f} ms a step, {sum(e.count for e in events) // 3} launches")
    for event in events[:24]:
        share = 100 * event.self_device_time_total / total
        print(
            f"  {share:5.1f} %  {event.self_device_time_total / 3e3:7.3f} ms  {event.count // 3:4d}×  {event.key[:110]}"
        )


def line(row: dict) -> str:
    if "error" in row:
        return f"{row['job']:12s} {row['conv']:9s} {row['setting']:20s} FAILED: {row['error']}"
    speed = f"{row['step_ms']:8.2f} ms  {row['mvoxel_per_s']:6.1f} Mvoxel/s"
    cost = f"{row['peak_gib']} GiB  warm-up {row['warm_up_s']} s"
    return f"{row['job']:12s} {row['conv']:9s} {row['setting']:20s} {speed}  {cost}"


def write(rows: list[dict], args: argparse.Namespace, device: torch.device) -> None:
    on_gpu = device.type == "cuda"
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} CPU cores",
        "versions": {
            "torch": torch.__version__,
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,
            "python": platform.python_version(),
        },
        "rows": rows,
    }
    target = Path(args.results) / f"step_time_{args.conv}"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    target.with_suffix(".md").write_text(markdown(record))


def markdown(record: dict) -> str:
    head = [
        f"# A training step on one {record['device']}",
        "",
        f"{record['when']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items() if v),
        "",
        "| network | operator | setting | step (ms) | Mvoxel/s | peak (GiB) | warm-up (s) |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {r['job']} | {r['conv']} | {r['setting']} | "
        + (
            f"{r['step_ms']:.2f} | {r['mvoxel_per_s']:.1f} | {r['peak_gib']} | {r['warm_up_s']} |"
            if "error" not in r
            else f"failed: {r['error']} | | | |"
        )
        for r in record["rows"]
    ]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    main()
