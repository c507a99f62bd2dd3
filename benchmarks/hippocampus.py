"""Three operators, one recipe, real volumes: the hippocampus configurations trained for a fixed time each.

    python benchmarks/hippocampus.py --root Task04_Hippocampus --minutes 15 --overlay cpu
    python benchmarks/hippocampus.py --root Task04_Hippocampus --minutes 5 --overlay gpu

Each network is trained by `medconv fit` for the same number of minutes on the same 80/20 split and measured by
sliding window on the validation cases, on their own grids. Results go to benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import lightning
import monai
import torch

CONFIGS = ("hippocampus_plain", "hippocampus_sym", "hippocampus_gradient")


def main() -> None:
    args = parse()
    runs = Path(args.runs)
    taken = [name for name in args.configs if (runs / name).exists()]
    if taken:
        sys.exit(
            f"{runs} already holds {', '.join(taken)}; give another --runs, or the old figures would be reported"
        )
    commands = {name: fit_command(name, i, args, runs) for i, name in enumerate(args.configs)}
    gpu = args.overlay == "gpu"
    if args.parallel:
        children = [
            subprocess.Popen(command, env={**os.environ, **({"CUDA_VISIBLE_DEVICES": str(i)} if gpu else {})})
            for i, command in enumerate(commands.values())
        ]
        codes = [child.wait() for child in children]
    else:
        codes = [subprocess.run(command, check=False).returncode for command in commands.values()]
    if any(codes):
        sys.exit(f"a fit failed: exit codes {codes}")
    write_results(args, commands, runs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="folder with dataset.json")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--overlay", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS))
    parser.add_argument("--runs", default="runs/benchmark")
    parser.add_argument("--results", default="benchmarks/results")
    parser.add_argument("--cores", type=int, default=0, help="pin each fit to its own N cores (taskset)")
    parser.add_argument("--first-core", type=int, default=0)
    parser.add_argument(
        "--parallel", action="store_true", help="all fits at once; only with --cores or one GPU each"
    )
    parser.add_argument(
        "--extra", nargs=argparse.REMAINDER, default=[], help="further options of medconv fit"
    )
    return parser.parse_args()


def fit_command(name: str, index: int, args: argparse.Namespace, runs: Path) -> list[str]:
    """The command line of one fit; everything that shapes the result is on it."""
    seconds = round(args.minutes * 60)
    limit = f"00:{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    command = [sys.executable, "-m", "medconv", "fit", "--config", name, "--config", args.overlay]
    if args.overlay == "cpu":
        command += ["--config", "hippocampus_small"]
    command += [
        "--data.init_args.root",
        args.root,
        "--trainer.max_time",
        limit,
        "--runs",
        str(runs),
        "--name",
        name,
    ]
    if args.cores:
        first = args.first_core + index * args.cores
        pin = ["taskset", "-c", f"{first}-{first + args.cores - 1}", "env", f"OMP_NUM_THREADS={args.cores}"]
        command = [*pin, *command]
    return command + args.extra


def write_results(args: argparse.Namespace, commands: dict[str, list[str]], runs: Path) -> None:
    cores = f"{args.cores or torch.get_num_threads()} CPU cores ({cpu_name()})"
    device = f"one {torch.cuda.get_device_name()}" if args.overlay == "gpu" else cores
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "minutes": args.minutes,
        "versions": {
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "monai": monai.__version__,
            "python": platform.python_version(),
        },
        "commands": {name: shlex.join(["python", *c[c.index("-m") :]]) for name, c in commands.items()},
        "results": {
            name: json.loads((runs / name / "table.json").read_text())["summary"] for name in commands
        },
    }
    target = Path(args.results) / f"hippocampus_{args.overlay}"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    target.with_suffix(".md").write_text(markdown(record))
    sys.stdout.write(markdown(record))


def cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def markdown(record: dict) -> str:
    rows = [
        f"# Hippocampus, {record['minutes']:g} minutes each on {record['device']}",
        "",
        f"{record['when']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
        "| configuration | mean Dice | per class | mean HD95 (mm) | missed |",
        "|---|---|---|---|---|",
    ]
    for name, summary in record["results"].items():
        classes = summary["labels"]
        per_class = ", ".join(f"{c['name']} {c['mean_dice']:.4f}" for c in classes)
        missed = sum(c["n_missed"] for c in classes)
        dice, hd95_mm = summary["class_first_mean_dice"], summary["class_first_mean_hd95_mm"]
        rows.append(
            f"| {name} | {dice:.4f} | {per_class} | {'' if hd95_mm is None else f'{hd95_mm:.3f}'} | {missed} |"
        )
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    main()
