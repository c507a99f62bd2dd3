"""Networks that know orientation and networks that do not, on images where it means nothing: nuclei and membranes.

    python benchmarks/orientation.py --root nuclei --set nuclei --minutes 2 --seeds 3 --parallel 3
    python benchmarks/orientation.py --root membrane --set membrane --minutes 1 --seeds 3 --parallel 3

Plain, orbit-tied, ring and p4m U-Nets of equal parameters (configs/nuclei_*.yaml, membrane_*.yaml) are trained for
equal time on the same division (nuclei: 80/20 of the images; membranes: the last five slices of the stack are kept
apart), once for each seed; then `medconv robustness` turns the validation images. Membranes are measured upright by
the Rand and information scores of ISBI 2012 too (`medconv evaluate --membrane` on predicted probabilities). Means are
over images, then over seeds; intervals are percentile bootstraps over images of the mean over seeds; beside it the
spread between seeds. Runs that share a GPU share its time: `--parallel` says how many, and all arms are treated
alike. Results go to benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

ARMS = ("plain", "sym", "ring", "p4m")
SCORES = {"nuclei": ("ap_50", "ap_75", "pq"), "membrane": ("dice",)}
PARTITIONS = ("v_rand", "v_rand_split", "v_rand_merge", "v_info", "v_info_split", "v_info_merge")
KEPT_APART = {"nuclei": 0.2, "membrane": 0.25}
ANGLES = (0, 15, 30, 45, 60, 75, 90)
RESAMPLES = 2000


def main() -> None:
    args = parse()
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    require_same(args, work / "study.json")
    splits = divide(args, work / "splits.json")
    jobs = list(product(range(args.seeds), args.arms))  # seeds outside: arms of one seed run side by side
    with ThreadPoolExecutor(args.parallel) as pool:
        steps = dict(zip(jobs, pool.map(lambda job: train(*job, splits, args), jobs), strict=True))
        list(pool.map(lambda seed: turn(seed, args), range(args.seeds)))
        partitions = (
            list(pool.map(lambda job: part(*job, splits, args), jobs)) if args.set == "membrane" else []
        )
    rows = list(summarise(args))
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python benchmarks/orientation.py " + " ".join(sys.argv[1:]),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor(),
        "versions": {n: version(n) for n in ("torch", "lightning")} | {"python": platform.python_version()},
        "minutes": args.minutes,
        "parallel": args.parallel,
        "seeds": args.seeds,
        "arms": {arm: [steps[seed, arm] for seed in range(args.seeds)] for arm in args.arms},
        "rows": rows,
        "agreement": list(agreement(args)),
        "partitions": partitions,
    }
    out = Path(args.results)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"orientation_{args.set}.json").write_text(json.dumps(record, indent=1) + "\n")
    text = markdown(record, args)
    (out / f"orientation_{args.set}.md").write_text(text)
    sys.stdout.write(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="the folder with images and labels")
    parser.add_argument("--set", default="nuclei", choices=list(SCORES))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=2.0, help="of training, each network")
    parser.add_argument("--parallel", type=int, default=3, help="networks that train side by side")
    parser.add_argument("--overlay", default="gpu", help="a further configuration, such as cpu")
    parser.add_argument("--angles", type=float, nargs="+", default=list(ANGLES))
    parser.add_argument("--work", default="scratch")
    parser.add_argument("--results", default=str(Path(__file__).parent / "results"))
    return parser.parse_args()


def require_same(args: argparse.Namespace, path: Path) -> None:
    """Networks of an earlier call are taken over, so they must have been trained alike."""
    asked = {name: getattr(args, name) for name in ("set", "root", "minutes", "parallel", "overlay")}
    if path.exists() and (before := json.loads(path.read_text())) != asked:
        raise SystemExit(
            f"{path.parent} holds networks of {before}, asked for are {asked}; take another --work"
        )
    path.write_text(json.dumps(asked) + "\n")


def divide(args: argparse.Namespace, path: Path) -> Path:
    """One division for all: some images at random, or the last slices of a stack."""
    names = sorted(p.stem for p in (Path(args.root) / "images").iterdir() if not p.name.startswith("."))
    if args.set == "nuclei":
        names = list(np.random.default_rng(12345).permutation(names))
    kept = round(KEPT_APART[args.set] * len(names))
    path.write_text(json.dumps([{"train": sorted(names[:-kept]), "val": sorted(names[-kept:])}]))
    return path


def run(command: list[str], log: Path, args: argparse.Namespace) -> str:
    threads = str(max(1, (os.cpu_count() or 1) // args.parallel))
    done = subprocess.run(
        [sys.executable, "-m", "medconv", *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": threads},
    )  # fmt: skip
    if done.returncode:
        log = log.with_suffix(".failed.log")  # a log under its own name says that the step is done
    log.write_text(done.stdout)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}; see {log}\n{done.stdout[-1500:]}")
    return done.stdout


def train(seed: int, arm: str, splits: Path, args: argparse.Namespace) -> dict[str, float]:
    """One network, unless it is there from an earlier call; what its log says of its epochs."""
    log = Path(args.work) / f"{arm}-{seed}.log"
    if (Path(args.work) / "runs" / f"{arm}-{seed}" / "best.ckpt").exists() and log.exists():
        return count_epochs(log.read_text())
    seconds = round(60 * args.minutes)
    settings = {
        "data.init_args.root": args.root,
        "data.init_args.splits": str(splits),
        "data.init_args.val_fraction": "null",
        "data.init_args.num_folds": "null",
        "data.init_args.fold": "0",
        "data.init_args.group_pattern": "null",
        "data.init_args.seed": str(seed),
        "data.init_args.cache_dir": str(Path(args.work) / "cache"),
        "trainer.max_time": f"00:00:{seconds // 60:02d}:{seconds % 60:02d}",
        "trainer.check_val_every_n_epoch": "1000",
    }
    overlay = ["--config", args.overlay] if args.overlay else []
    text = run(
        [
            "fit", "--config", f"{args.set}_{arm}", *overlay, "--seed_everything", str(seed),
            *(word for name, value in settings.items() for word in (f"--{name}", value)),
            "--runs", str(Path(args.work) / "runs"), "--name", f"{arm}-{seed}",
        ],
        log, args,
    )  # fmt: skip
    return count_epochs(text)


def count_epochs(text: str) -> dict[str, float]:
    epochs = re.findall(r"epoch +(\d+)", text)
    return {"epochs": int(epochs[-1]) + 1 if epochs else 0}


def turn(seed: int, args: argparse.Namespace) -> None:
    """All networks of a seed on turned validation images."""
    work = Path(args.work)
    checkpoints = [str(work / "runs" / f"{arm}-{seed}" / "best.ckpt") for arm in args.arms]
    run(
        [
            "robustness", *checkpoints, args.root, "--names", *args.arms, "--scores", *SCORES[args.set],
            "--rotate", *map(str, args.angles), "--precision", "fp32", "-o", str(work / f"turned-{seed}"),
        ],
        work / f"turned-{seed}.log", args,
    )  # fmt: skip


def part(seed: int, arm: str, splits: Path, args: argparse.Namespace) -> dict[str, float | str]:
    """How well what one network takes for membrane parts the cells of the validation images."""
    work = Path(args.work)
    folder = work / f"parted-{arm}-{seed}"
    kept = json.loads(splits.read_text())[0]["val"]
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in (Path(args.root) / kind).iterdir():
            if path.stem in kept:
                shutil.copyfile(path, folder / kind / path.name)
    checkpoint, log = work / "runs" / f"{arm}-{seed}" / "best.ckpt", work / f"parted-{arm}-{seed}.log"
    masks, result = folder / "masks", str(folder / "evaluation")
    words = ["-i", str(folder / "images"), "-o", str(masks), "--save-probabilities", "--precision", "fp32"]
    run(["predict", str(checkpoint), *words], log, args)
    pair = [str(masks / "probabilities"), str(folder / "labels")]
    run(["evaluate", *pair, "--membrane", "-o", result], log, args)
    summary = json.loads((folder / "evaluation" / "table.json").read_text())["summary"]
    return {"arm": arm, "seed": seed, **{name: summary[f"mean_{name}"] for name in PARTITIONS}}


def read(seed: int, name: str, args: argparse.Namespace) -> list[dict[str, str]]:
    with (Path(args.work) / f"turned-{seed}" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summarise(args: argparse.Namespace) -> Iterator[dict]:
    """A row for each arm, angle and score."""
    cases = [read(seed, "cases", args) for seed in range(args.seeds)]
    curves = [read(seed, "robustness", args) for seed in range(args.seeds)]
    for arm, score in product(args.arms, SCORES[args.set]):
        for level in args.angles:
            own = [
                next(float(r["mean"]) for r in curve if is_overall(r, arm, level) and r["score"] == score)
                for curve in curves
            ]
            by_case: dict[str, list[float]] = {}
            for rows in cases:
                for row in rows:
                    if (
                        row["arm"] == arm
                        and float(row["level"]) == level
                        and row.get(score) not in ("", "nan", None)
                    ):
                        by_case.setdefault(row["case_id"], []).append(float(row[score]))
            means = np.array([mean(values) for values in by_case.values()])
            low, high = interval(means) if len(means) else (float("nan"), float("nan"))
            yield {
                "arm": arm, "score": score, "angle": level, "mean": mean(own), "low": low, "high": high,
                "seeds": own, "between_seeds": stdev(own) if len(own) > 1 else None, "images": len(means),
            }  # fmt: skip


def is_overall(row: dict[str, str], arm: str, level: float) -> bool:
    return row["arm"] == arm and float(row["level"]) == level and row["label"] == "0"


def interval(values: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    draws = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def agreement(args: argparse.Namespace) -> Iterator[dict]:
    """How far f(turned x) is turned f(x): mean Dice of both label maps, and the largest difference of a probability."""
    rows = [row for seed in range(args.seeds) for row in read(seed, "agreement", args)]
    for arm, level in product(args.arms, args.angles):
        own = [r for r in rows if r["arm"] == arm and float(r["level"]) == level]
        if own:
            differences = [
                float(r["probability_difference"]) for r in own if r["probability_difference"] != ""
            ]
            known = [d for d in differences if d == d]
            yield {
                "arm": arm, "angle": level, "dice": mean(float(r["dice"]) for r in own),
                "probability_difference": max(known) if known else None,
            }  # fmt: skip


def markdown(record: dict, args: argparse.Namespace) -> str:
    lines = [
        f"# Orientation on {args.set}, one {record['device']}",
        "",
        f"{record['when']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
        f"`{record['command']}`: {args.minutes:g} minutes of training each, {args.parallel} side by side on the GPU, "
        f"{args.seeds} seeds, equal parameters. Mean over images and seeds [95 % over images] (SD between seeds).",
    ]
    if record["partitions"]:
        lines += [
            "",
            "## Cells between membranes, upright: ISBI 2012, at the best threshold of each score (SD)",
            "",
        ]
        lines += ["| arm | " + " | ".join(PARTITIONS) + " |", "|---" * (1 + len(PARTITIONS)) + "|"]
        for arm in args.arms:
            own = [row for row in record["partitions"] if row["arm"] == arm]
            shown = (spread([row[name] for row in own]) for name in PARTITIONS)
            lines.append(f"| {arm} | " + " | ".join(shown) + " |")
    for score in SCORES[args.set]:
        lines += ["", f"## {score} against the angle", "", "| angle | " + " | ".join(args.arms) + " |"]
        lines += ["|---" * (1 + len(args.arms)) + "|"]
        for level in args.angles:
            found = {r["arm"]: r for r in record["rows"] if r["score"] == score and r["angle"] == level}
            lines.append(f"| {level:g}° | " + " | ".join(cell(found[arm]) for arm in args.arms) + " |")
    lines += [
        "",
        "## Dice of f(turned image) and turned f(image); largest difference of a probability at 90°",
        "",
    ]
    lines += ["| angle | " + " | ".join(args.arms) + " |", "|---" * (1 + len(args.arms)) + "|"]
    for level in args.angles:
        found = {r["arm"]: r for r in record["agreement"] if r["angle"] == level}
        if found:
            lines.append(f"| {level:g}° | " + " | ".join(agreed(found[arm]) for arm in args.arms) + " |")
    lines += ["", "Epochs of 250 steps: " + ", ".join(
        f"{arm} {'/'.join(str(run['epochs']) for run in runs)}" for arm, runs in record["arms"].items()
    )]  # fmt: skip
    return "\n".join([*lines, ""])


def cell(row: dict) -> str:
    spread = "" if row["between_seeds"] is None else f" ({row['between_seeds']:.3f})"
    return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]{spread}"


def spread(values: list[float]) -> str:
    return f"{mean(values):.4f}" + (f" ({stdev(values):.4f})" if len(values) > 1 else "")


def agreed(row: dict) -> str:
    largest = row["probability_difference"]
    return f"{row['dice']:.4f}" + ("" if largest is None else f", {largest:.1e}")


if __name__ == "__main__":
    main()
