"""Objects in an image of 20 000 x 20 000: how long it takes, how much memory, and whether any seam shows.

    OMP_NUM_THREADS=1 python benchmarks/large_objects.py --side 20000 --out benchmarks/results

The network is a formula that reads shells from the image, so that the right answer is known: the image repeats one
drawn tile of touching ellipses, and every repetition must come out with the objects of the tile, whatever cuts it.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from medconv.inference import Predictor, separate
from medconv.io import volume_from_array
from medconv.planning import InstanceTarget, Plan
from medconv.transforms import instance_labels

TARGET = InstanceTarget(name="cell")
GIB = 2**30


class ReadsShells(nn.Module):
    """Logits of nested shells of an image that holds the number of each pixel's shell."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See above."""
        assert TARGET.levels is not None
        return torch.cat([(x - shell + 0.5) * 40 for shell in range(1, TARGET.levels + 1)], dim=1)


def draw_tile(side: int, count: int, seed: int = 0) -> np.ndarray:
    """Numbered ellipses, many of them touching, none at the edge."""
    rng = np.random.default_rng(seed)
    objects = np.zeros((side, side), np.int32)
    for number in range(1, count + 1):
        radii, angle = rng.uniform(6, 25, 2), rng.uniform(0, np.pi)
        row, column = rng.uniform(30, side - 30, 2).astype(int)
        window = slice(row - 28, row + 28), slice(column - 28, column + 28)
        y, x = np.mgrid[-28:28, -28:28]
        along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
        inside = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1
        objects[window][inside & (objects[window] == 0)] = number
    return objects


def count_wrong_tiles(labels: np.ndarray, expected: np.ndarray) -> int:
    """Repetitions of the tile whose objects are not those of the tile, or share one with another repetition."""
    side, wrong, seen = len(expected), 0, 0
    numbers = int(expected.max())
    for row in range(0, len(labels), side):
        for column in range(0, labels.shape[1], side):
            part = labels[row : row + side, column : column + side]
            pairs = np.unique(expected.astype(np.int64) * 2**32 + part)
            found = np.unique(part)
            wrong += not (len(pairs) == len(found) == numbers + 1)
            seen += len(found) - 1
    return wrong + (seen != int(labels.max()))


def main() -> None:
    """Draw, predict, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--tile", type=int, default=1_000)
    parser.add_argument("--patch", type=int, default=512)
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.side % options.tile:
        parser.error(f"--side: expected a multiple of --tile {options.tile}, got {options.side}")
    tile = instance_labels(draw_tile(options.tile, options.tile**2 // 2_500), TARGET, (1.0, 1.0))
    expected = separate(np.stack([tile > 0, tile / TARGET.levels]).astype(np.float16))
    repeats = options.side // options.tile
    volume = volume_from_array(
        np.tile(tile.astype(np.float32), (repeats, repeats))[..., None], (1.0, 1.0, 1.0)
    )
    patch = (min(options.patch, options.side),) * 2
    plan = Plan(
        spatial_dims=2,
        channel_names=("shell",),
        spacing_mm=(1.0, 1.0),
        patch_size=patch,
        normalization=("none",),
        orientation="native",
        **TARGET.plan_values(),
    )
    predictor = Predictor([ReadsShells()], [plan], device="cpu", overlap=options.overlap, tile_batch=1)
    planned = predictor.byte_plan(volume.geometry, volume.shape)
    start = time.perf_counter()
    prediction = predictor.segment(volume)
    report = {
        "side": options.side,
        "objects": prediction.num_objects,
        "objects_expected": int(expected.max()) * repeats**2,
        "wrong_tiles": count_wrong_tiles(prediction.labels[..., 0], expected),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "stages_s": {name: round(value, 1) for name, value in prediction.seconds.items()},
        "planned_gib": round(planned.host_bytes / GIB, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB, 2),
        "threads": torch.get_num_threads(),
        "dtype": str(prediction.labels.dtype),
    }
    print(json.dumps(report, indent=2))
    if options.out is not None:
        (options.out / "large_objects.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
