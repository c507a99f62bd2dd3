"""A thousand small cases through `medconv evaluate`: is it bounded by reading, and does memory stay flat?

    OMP_NUM_THREADS=1 python benchmarks/evaluate.py --work scratch --data path/to/hippocampus/labelsTr
    OMP_NUM_THREADS=1 python benchmarks/evaluate.py --work scratch --cases 100      # drawn shapes, to see that it runs

References are the label maps of --data in turn, each shifted by up to two voxels so that no two cases are alike;
predictions are the same, their surfaces moved by a voxel in random places. Without --data two touching ellipsoids of
drawn sizes stand for a hippocampus. `case by case` runs in this process after a warm-up of 20 cases: each case is read,
then measured, and both are timed where they happen, since either alone in a loop finds the processor's caches warm;
figures are of turns of 100 cases; resident memory is noted after each turn. `command` is the whole
command with its start, tables and report; memory is that of its process tree, read every 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import scipy
from scipy.ndimage import gaussian_filter

from medconv import __version__
from medconv.evaluation import Pair, match_cases, measure_pair
from medconv.evaluation.read_pair import read_maps
from medconv.metrics import Structures

NAMES = {1: "anterior", 2: "posterior"}
TURN = 100
WARM_UP = 20


def main() -> None:
    args = parse()
    work = Path(args.work).absolute()
    predictions, references, source = make_cases(work, args)
    pairs = list(match_cases(predictions, references).pairs)
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')} python benchmarks/evaluate.py "
        + " ".join("PATH" if "/" in word else word for word in sys.argv[1:]),
        "commit": commit(),
        "device": f"{len(os.sched_getaffinity(0))} CPU cores ({cpu_name()})",
        "versions": {
            "medconv": __version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "nibabel": nib.__version__,
            "python": platform.python_version(),
        },
        "cases": len(pairs),
        "shapes": source,
        "median_voxels": int(np.median([np.prod(nib.load(pair.reference).shape) for pair in pairs])),
        "seed": 0,
        "case_by_case": case_by_case(pairs),
        "commands": [
            command(predictions, references, work / "out", workers, len(pairs)) for workers in args.workers
        ],
    }
    target = Path(args.results) / "evaluate"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    target.with_suffix(".md").write_text(markdown(record))
    sys.stdout.write(markdown(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", required=True, help="scratch folder")
    parser.add_argument("--data", help="folder of real label maps")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--results", default="benchmarks/results")
    return parser.parse_args()


# ---------------------------------------------------------------- what is measured


def case_by_case(pairs: list[Pair]) -> dict:
    """Seconds of reading and of everything, and resident memory, turn by turn."""
    structures = Structures(NAMES)
    for pair in pairs[:WARM_UP]:
        measure_pair(pair, structures)
    turns, resident = [], [resident_bytes()]
    for start in range(0, len(pairs), TURN):
        turn = pairs[start : start + TURN]
        turns.append(np.mean([seconds_of(pair, structures) for pair in turn], axis=0))
        resident.append(resident_bytes())
    reading, measuring = np.array(turns).T
    return {
        "read_ms": round(1e3 * float(np.median(reading)), 3),
        "read_ms_quartiles": [round(1e3 * q, 3) for q in np.percentile(reading, [25, 75])],
        "measure_ms": round(1e3 * float(np.median(measuring)), 3),
        "measure_ms_quartiles": [round(1e3 * q, 3) for q in np.percentile(measuring, [25, 75])],
        "share_of_reading": round(float(np.median(reading / (reading + measuring))), 3),
        "resident_mib": [round(n / 2**20, 1) for n in resident],
        "grown_mib": round((resident[-1] - resident[1]) / 2**20, 2),
    }


def seconds_of(pair: Pair, structures: Structures) -> tuple[float, float]:
    """Of reading both files of a case, and of measuring what was read."""
    start = time.perf_counter()
    pred, ref, spacing_mm = read_maps(pair)
    read = time.perf_counter()
    structures.measure(pair.case_id, pred, ref, spacing_mm)
    return read - start, time.perf_counter() - read


def command(predictions: Path, references: Path, out: Path, workers: int, count: int) -> dict:
    """The whole command: seconds, and memory of its process tree over time."""
    shutil.rmtree(out, ignore_errors=True)
    words = ["evaluate", str(predictions), str(references), "-o", str(out), "--workers", str(workers)]
    words += ["--label-names", json.dumps({str(k): v for k, v in NAMES.items()})]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "medconv", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    samples: list[tuple[float, int]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            samples.append((round(time.perf_counter() - start, 2), tree_bytes(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, told = process.communicate()
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    if f"{count} of {count} case(s) measured" not in told:
        raise RuntimeError(f"not every case was measured: {told[-300:]}")
    middle = [size for at, size in samples if 0.3 * seconds <= at <= 0.5 * seconds]
    late = [size for at, size in samples if 0.6 * seconds <= at <= 0.8 * seconds]
    return {
        "workers": workers,
        "seconds": round(seconds, 2),
        "cases_a_second": round(count / seconds, 1),
        "peak_mib": round(max(size for _, size in samples) / 2**20, 1),
        # while cases are measured: neither at the start nor while the report is drawn
        "middle_mib": round(float(np.median(middle)) / 2**20, 1),
        "late_mib": round(float(np.median(late)) / 2**20, 1),
        "memory": [(at, round(size / 2**20, 1)) for at, size in samples[:: max(1, len(samples) // 40)]],
    }


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tree_bytes(root: int) -> int:
    """Resident memory of a process and everything that it started."""
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue  # it has ended
    return total


# ---------------------------------------------------------------- what is made


def make_cases(work: Path, args: argparse.Namespace) -> tuple[Path, Path, str]:
    """The folders of predictions and references, and what their shapes are."""
    real = sorted(Path(args.data).glob("[!.]*.nii*")) if args.data else []
    if args.data and not real:
        raise SystemExit(f"expected label maps (.nii, .nii.gz) in {args.data}, found none")
    kind = "real" if real else "drawn"
    folders = [work / f"evaluate_{kind}_{args.cases}_{side}" for side in ("predictions", "references")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(args.cases):
        paths = [folder / f"case_{number:04d}.nii.gz" for folder in folders]
        if all(path.exists() for path in paths):
            continue
        rng = np.random.default_rng(number)
        labels, affine = real_labels(real[number % len(real)]) if real else (drawn_labels(rng), np.eye(4))
        labels = np.roll(labels, rng.integers(-2, 3, 3), (0, 1, 2))
        for path, voxels in zip(paths, (worn(labels, rng), labels), strict=True):
            nib.save(nib.Nifti1Image(voxels, affine), path)
    return (*folders, f"{len(real)} real label maps in turn" if real else "drawn ellipsoids")


def real_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(path)
    return np.asarray(image.dataobj).astype(np.uint8), image.affine


def drawn_labels(rng: np.random.Generator) -> np.ndarray:
    """Two ellipsoids that touch, in a box of the size of a hippocampus."""
    shape = rng.integers((31, 40, 24), (44, 60, 48))
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    width, place = rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.4)
    first, second = (
        (x / width) ** 2 + ((y - sign * place) / place) ** 2 + (z / 0.6) ** 2 < 1 for sign in (-1, 1)
    )
    return np.where(first, 1, np.where(second, 2, 0)).astype(np.uint8)


def worn(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The labels with their surfaces moved by up to a voxel, here inwards and there outwards."""
    drift = gaussian_filter(rng.normal(size=labels.shape), 3)
    moved = np.roll(labels, 1, int(rng.integers(3)))
    return np.where(drift > 0, labels, moved).astype(np.uint8)


# ---------------------------------------------------------------- the record


def commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def quartiles(case: dict, name: str) -> str:
    low, high = case[f"{name}_quartiles"]
    return f"{case[name]:.2f} [{low:.2f}, {high:.2f}]"


def markdown(record: dict) -> str:
    case = record["case_by_case"]
    lines = [
        f"# Evaluating {record['cases']} small cases, {record['device']}",
        "",
        f"{record['when']}, commit {record['commit']}, "
        + ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
        f"`{record['command'].strip()}`; {record['shapes']}, {record['median_voxels']} voxels in the "
        "median, two structures.",
        "",
        "| case by case, one process | |",
        "|---|---|",
        f"| reading both files (ms) | {quartiles(case, 'read_ms')} |",
        f"| measuring (ms) | {quartiles(case, 'measure_ms')} |",
        f"| share of reading | {100 * case['share_of_reading']:.0f} % |",
        f"| resident memory after {TURN} cases, and at the end (MiB) | {case['resident_mib'][1]}, "
        f"{case['resident_mib'][-1]} |",
        "",
        "| whole command, workers | seconds | cases a second | memory of the tree: middle, late, peak (MiB) |",
        "|---|---|---|---|",
    ]
    for row in record["commands"]:
        memory = f"{row['middle_mib']}, {row['late_mib']}, {row['peak_mib']}"
        lines.append(f"| {row['workers']} | {row['seconds']} | {row['cases_a_second']} | {memory} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
