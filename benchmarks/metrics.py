"""The metrics beside MONAI, torchmetrics and SciPy, in one process, in turns.

    OMP_NUM_THREADS=2 python benchmarks/metrics.py
    OMP_NUM_THREADS=2 python benchmarks/metrics.py --only hd95_256 --repeats 5

Each row measures all its contestants once a round, so that whatever else the machine does meets all of them; the
ratio is that of the medians, and beside it that of the fastest rounds, which other work on the machine disturbs
least. What they compute is compared before anything is timed. The shapes are drawn: 14
organs with blurred boundaries at 30 % of 256 x 256 x 128 voxels, one organ of 256^3, 400 nuclei of 1024^2.
Results go to benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import monai
import numpy as np
import scipy
import torch
import torchmetrics
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_panoptic_quality,
    compute_surface_dice,
)
from scipy.ndimage import (
    binary_erosion,
    distance_transform_edt,
    find_objects,
    gaussian_filter,
    generate_binary_structure,
    zoom,
)
from torchmetrics.functional.segmentation import dice_score

from medconv.metrics import (
    contingency,
    dice_from,
    hausdorff_mm,
    measure_case,
    panoptic_quality,
    surface_distances,
)

SPACING_MM = (0.8, 0.8, 3.0)
Figures = np.ndarray
Contestants = dict[str, Callable[[], Figures]]


def main() -> None:
    args = parse()
    warnings.filterwarnings("ignore", module="monai")
    rows = [row for name in args.only for row in [measure(name, ROWS[name](), args.repeats)]]
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"OMP_NUM_THREADS={torch.get_num_threads()} python benchmarks/metrics.py "
        + " ".join(sys.argv[1:]),
        "commit": commit(),
        "device": f"{torch.get_num_threads()} CPU cores ({cpu_name()})",
        "versions": {
            "monai": monai.__version__,
            "torchmetrics": torchmetrics.__version__,
            "scipy": scipy.__version__,
            "numpy": np.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "repeats": args.repeats,
        "seed": 0,
        "rows": rows,
    }
    target = Path(args.results) / "metrics"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    target.with_suffix(".md").write_text(markdown(record))
    sys.stdout.write(markdown(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--results", default="benchmarks/results")
    return parser.parse_args()


def measure(name: str, contestants: Contestants, repeats: int) -> dict[str, Any]:
    """Median and spread of every contestant, in turns; the first is ours."""
    ours, *others = contestants
    figures = {who: run() for who, run in contestants.items()}
    differences = {who: float(np.nanmax(np.abs(figures[who] - figures[ours]))) for who in others}
    times: dict[str, list[float]] = {who: [] for who in contestants}
    for _ in range(repeats):
        for who, run in contestants.items():
            start = time.perf_counter()
            run()
            times[who].append(1e3 * (time.perf_counter() - start))
    return {
        "name": name,
        "median_ms": {who: median(t) for who, t in times.items()},
        "quartiles_ms": {who: np.percentile(t, [25, 75]).tolist() for who, t in times.items()},
        "fastest_ms": {who: min(t) for who, t in times.items()},
        "ratio": {who: median(times[who]) / median(times[ours]) for who in others},
        "ratio_of_fastest": {who: min(times[who]) / min(times[ours]) for who in others},
        "largest_difference": differences,
    }


# ---------------------------------------------------------------- what is compared


def table_14() -> Contestants:
    """Dice, HD, HD95, ASSD and NSD at 1 mm of 14 labels; MONAI gets its one-hot masks for nothing.

    Ours twice: in C order, and in the order in which a NIfTI file is read, first axis fastest.
    """
    pred, ref = organs()
    hot = [one_hot(m) for m in (pred, ref)]
    names = {label: str(label) for label in range(1, 15)}
    as_read = [np.asfortranarray(m) for m in (pred, ref)]

    def ours(pred: np.ndarray = pred, ref: np.ndarray = ref) -> Figures:
        rows = measure_case("a", pred, ref, SPACING_MM, names, tolerances_mm=1)
        return np.array([(r.dice, r.hd_mm, r.hd95_mm, r.assd_mm, r.nsd) for r in rows])

    def by_monai() -> Figures:
        given = {"include_background": False, "spacing": list(SPACING_MM)}
        columns = [
            compute_dice(*hot, include_background=False),
            compute_hausdorff_distance(*hot, **given),
            compute_hausdorff_distance(*hot, percentile=95, **given),
            compute_average_surface_distance(*hot, symmetric=True, **given),
            compute_surface_dice(*hot, class_thresholds=[1.0] * 14, **given),
        ]
        return torch.stack([c[0].double() for c in columns], dim=1).numpy()

    def by_scipy() -> Figures:
        return np.array([scipy_figures(*boxed(pred, ref, label)) for label in names])

    return {
        "medconv": ours,
        "medconv, NIfTI order": lambda: ours(*as_read),
        "MONAI": by_monai,
        "SciPy distance transforms": by_scipy,
    }


def overlap_14() -> Contestants:
    """Dice alone of 14 labels; torchmetrics takes the label maps, MONAI the one-hot masks."""
    pred, ref = organs()
    hot = [one_hot(m) for m in (pred, ref)]
    index = [torch.from_numpy(m).long()[None] for m in (pred, ref)]
    return {
        "medconv": lambda: dice_from(contingency(pred, ref, 15))[1:],
        "MONAI": lambda: compute_dice(*hot, include_background=False)[0].double().numpy(),
        "torchmetrics": lambda: (
            dice_score(*index, num_classes=15, include_background=False, average=None, input_format="index")[
                0
            ]
            .double()
            .numpy()
        ),
    }


def hd95_256() -> Contestants:
    """HD95 of one mask of 256^3, a good prediction with one island."""
    pred, ref = organ(256)
    hot = [torch.from_numpy(m[None, None]).float() for m in (pred, ref)]

    def by_monai() -> Figures:
        value = compute_hausdorff_distance(*hot, include_background=True, percentile=95, spacing=[1.0] * 3)
        return value.double().numpy()

    def by_scipy() -> Figures:
        return np.array(scipy_figures(*boxed(pred, ref, True), spacing_mm=(1, 1, 1))[2:3])

    return {
        "medconv": lambda: np.array([hausdorff_mm(pred, ref, 1, 95)]),
        "MONAI": by_monai,
        "SciPy distance transforms": by_scipy,
    }


def all_distances_256() -> Contestants:
    """The same pair with every distance: HD, HD95, ASSD and NSD at 1 mm."""
    pred, ref = organ(256)
    hot = [torch.from_numpy(m[None, None]).float() for m in (pred, ref)]

    def ours() -> Figures:
        d = surface_distances(pred, ref, 1)
        return np.array([d.hausdorff_mm(), d.hausdorff_mm(95), d.assd_mm(), d.within(1)])

    def by_monai() -> Figures:
        given = {"include_background": True, "spacing": [1.0] * 3}
        columns = [
            compute_hausdorff_distance(*hot, **given),
            compute_hausdorff_distance(*hot, percentile=95, **given),
            compute_average_surface_distance(*hot, symmetric=True, **given),
            compute_surface_dice(*hot, class_thresholds=[1.0], **given),
        ]
        return torch.cat(columns).flatten().double().numpy()

    return {"medconv": ours, "MONAI": by_monai}


def nuclei_1024() -> Contestants:
    """Panoptic quality of 400 nuclei in 1024 x 1024."""
    pred, ref = nuclei(1024, 400)
    pair = [torch.from_numpy(m) for m in (pred, ref)]
    return {
        "medconv": lambda: np.array([panoptic_quality(pred, ref).panoptic_quality]),
        "MONAI": lambda: compute_panoptic_quality(*pair).double().numpy(),
    }


ROWS: dict[str, Callable[[], Contestants]] = {
    row.__name__: row for row in (hd95_256, all_distances_256, nuclei_1024, overlap_14, table_14)
}


# ---------------------------------------------------------------- the plain way, with SciPy


def boxed(pred: np.ndarray, ref: np.ndarray, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both masks of a label in the box that holds them."""
    either = (pred == label) | (ref == label)
    (box,) = find_objects(either.astype(np.uint8))
    return pred[box] == label, ref[box] == label


def scipy_figures(
    pred: np.ndarray, ref: np.ndarray, spacing_mm: tuple[float, ...] = SPACING_MM
) -> tuple[float, ...]:
    faces = generate_binary_structure(3, 1)
    edges = [m & ~binary_erosion(m, faces) for m in (pred, ref)]
    forth = distance_transform_edt(~edges[1], sampling=spacing_mm)[edges[0]]
    back = distance_transform_edt(~edges[0], sampling=spacing_mm)[edges[1]]
    both = np.concatenate([forth, back])
    return (
        2 * (pred & ref).sum() / (pred.sum() + ref.sum()),
        both.max(),
        max(np.percentile(forth, 95), np.percentile(back, 95)),
        both.mean(),
        (both <= 1 + 1e-6).mean(),
    )


# ---------------------------------------------------------------- what is drawn


def rough(shape: tuple[int, ...], seed: int, voxels: int) -> np.ndarray:
    """Smooth noise of unit variance with bumps of about so many voxels."""
    coarse = np.random.default_rng(seed).normal(size=[max(4, n // voxels) for n in shape])
    fine = zoom(
        gaussian_filter(coarse, 1.0), [n / c for n, c in zip(shape, coarse.shape, strict=True)], order=1
    )
    return fine / fine.std()


def organ(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A bumpy ball; the prediction errs by a voxel or two and has an island."""
    away = np.sqrt(sum((g - n / 2) ** 2 for g in np.ogrid[:n, :n, :n]))
    radius = 0.3 * n + 0.02 * n * rough((n,) * 3, 0, 16)
    ref, pred = away < radius, away < radius + rough((n,) * 3, 1, 8)
    corner = slice(n // 16, n // 16 + n // 32 + 2)
    pred[corner, corner, corner] = True
    return pred, ref


def organs() -> tuple[np.ndarray, np.ndarray]:
    """14 organs that touch each other and fill 30 % of the volume; the prediction is a voxel off."""
    shape, rng = (256, 256, 128), np.random.default_rng(0)
    centres, widths = rng.uniform(0.15, 0.85, (14, 3)), rng.uniform(0.8, 1.3, (14, 3))
    grid = np.ogrid[tuple(slice(0, 1, n * 1j) for n in shape)]
    away = np.stack(
        [
            sum(((g - c) * w) ** 2 for g, c, w in zip(grid, centre, width, strict=True)).astype(np.float32)
            for centre, width in zip(centres, widths, strict=True)
        ]
    )
    owner, reach = away.argmin(0).astype(np.uint8) + 1, away.min(0) * (1 + 0.1 * rough(shape, 1, 8))
    limit = np.quantile(reach, 0.3)
    ref = np.where(reach < limit, owner, 0).astype(np.uint8)
    pred = np.where(reach * (1 + 0.04 * rough(shape, 2, 8)) < limit, np.roll(owner, 1, 0), 0).astype(np.uint8)
    return pred, ref


def nuclei(n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Discs of 10 to 20 pixels on a jittered grid; in the prediction each is moved by up to 3 pixels, some are lost."""
    rng, side = np.random.default_rng(0), round(count**0.5)
    pred, ref = np.zeros((2, n, n), np.int64)
    for number, (row, column) in enumerate(np.ndindex(side, side), start=1):
        middle = (np.array([row, column]) + 0.5) * n / side + rng.uniform(-4, 4, 2)
        radius = rng.uniform(10, 20)
        for labels, centre in ((ref, middle), (pred, middle + rng.uniform(-3, 3, 2))):
            low, high = np.maximum(centre - 21, 0).astype(int), np.minimum(centre + 22, n).astype(int)
            patch = labels[low[0] : high[0], low[1] : high[1]]
            rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
            if labels is ref or number % 20:
                patch[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2] = number
    return pred, ref


def one_hot(labels: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 15).movedim(-1, 0)[None].float()


# ---------------------------------------------------------------- the record


def commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def markdown(record: dict) -> str:
    lines = [
        f"# Metrics beside other libraries, {record['device']}",
        "",
        f"{record['when']}, commit {record['commit']}, "
        + ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
        f"`{record['command'].strip()}`: median of {record['repeats']} rounds [quartiles], in turns.",
        "",
        "| figure | contestant | ms | times ours | of the fastest rounds | largest difference of a figure |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        for who, ms in row["median_ms"].items():
            low, high = row["quartiles_ms"][who]
            against = "| |"
            if who in row["ratio"]:
                ratios = f"{row['ratio'][who]:.1f} | {row['ratio_of_fastest'][who]:.1f}"
                against = f"{ratios} | {row['largest_difference'][who]:.1e}"
            lines.append(f"| {row['name']} | {who} | {ms:.1f} [{low:.1f}, {high:.1f}] | {against} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
