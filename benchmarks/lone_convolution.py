"""A convolution of a single volume on CPUs: as PyTorch chooses, and by oneDNN (`medconv.kernels.lone_convolution`).

    OMP_NUM_THREADS=1 python benchmarks/lone_convolution.py

Kernels of 3³, as many channels out as in, float32, inference mode; medians of 21 runs taken in turn, after two to warm
up. Results go to benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch

from medconv.kernels.lone_convolution import quick_alone

LAYERS = [
    (8, (40, 56, 40)),
    (32, (24, 24, 24)),
    (64, (16, 16, 16)),
    (128, (10, 14, 10)),
    (256, (5, 7, 5)),
    (32, (40, 56, 40)),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", default=str(Path(__file__).parent / "results"))
    out = Path(parser.parse_args().results)
    rows = [measure(channels, size) for channels, size in LAYERS]
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python benchmarks/lone_convolution.py",
        "device": f"{torch.get_num_threads()} CPU core(s)",
        "torch": torch.__version__,
        "rows": rows,
    }
    lines = [
        f"# A single volume on {record['device']}, torch {record['torch']}, {record['when']}",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/lone_convolution.py`: 3³ kernels, float32, medians of 21 runs in turn.",
        "",
        "| channels | voxels | as PyTorch chooses (ms) | by oneDNN (ms) | times as fast |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        size = "×".join(map(str, row["voxels"]))
        ratio = row["pytorch_ms"] / row["onednn_ms"]
        lines.append(
            f"| {row['channels']} | {size} | {row['pytorch_ms']:.1f} | {row['onednn_ms']:.1f} | {ratio:.1f} |"
        )
    text = "\n".join([*lines, ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / "lone_convolution.json").write_text(json.dumps(record, indent=1) + "\n")
    (out / "lone_convolution.md").write_text(text)
    print(text)


@torch.inference_mode()
def measure(channels: int, size: tuple[int, ...]) -> dict:
    """Milliseconds of one layer by both ways."""
    volume, layer = torch.randn(1, channels, *size), torch.nn.Conv3d(channels, channels, 3, padding=1)

    def quick() -> torch.Tensor:
        with quick_alone(volume):
            return layer(volume)

    ways: dict[str, Callable[[], torch.Tensor]] = {"pytorch_ms": lambda: layer(volume), "onednn_ms": quick}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(23):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {"channels": channels, "voxels": size} | {name: median(ms[2:]) for name, ms in taken.items()}


if __name__ == "__main__":
    main()
