"""What helps a plain U-Net to tell touching nuclei apart: how images are scaled, the resolution, the target, mirroring.

    python benchmarks/nuclei.py --root nuclei --minutes 5 --arms percentile range half_pixel --seeds 3 --parallel 3
    python benchmarks/nuclei.py --root nuclei --minutes 1 --arms range --seeds 1 --overlay cpu nuclei_small

All networks are those of configs/nuclei_plain.yaml, trained for equal time on the division of `orientation.py` (80/20
of the images), once for each seed; of several GPUs each trains `--parallel` of them side by side. Figures are those
that `medconv fit` itself reports for its checkpoint, with the thresholds that the configuration states (nothing is
tuned on the images that are measured), and those of `medconv validate --model.mirror true`. Results go to
benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from queue import SimpleQueue
from statistics import mean, stdev

import torch
from orientation import count_epochs, divide

from medconv import __version__

ARMS = {
    "percentile": ["--data.init_args.normalization", "[percentile]"],
    "range": ["--data.init_args.normalization", "[range]"],
    "half_pixel": ["--data.init_args.normalization", "[range]", "--data.init_args.spacing_mm", "[0.5,0.5]"],
    "boundary": ["--config", "nuclei_boundary", "--data.init_args.normalization", "[range]"],
    "sym": ["--data.init_args.normalization", "[range]"],
}
SCORES = ("ap_50", "ap_75", "pq")


def main() -> None:
    args = parse()
    args.set = "nuclei"
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    splits = divide(args, work / "splits.json")
    gpus: SimpleQueue[str] = SimpleQueue()
    visible = visible_gpus() or [""]
    for gpu in visible * args.parallel:
        gpus.put(gpu)

    def job(pair: tuple[int, str]) -> dict:
        gpu = gpus.get()
        try:
            return measure(*pair, splits, args, gpu)
        finally:
            gpus.put(gpu)

    with ThreadPoolExecutor(gpus.qsize()) as pool:
        rows = list(pool.map(job, product(range(args.seeds), args.arms)))
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python benchmarks/nuclei.py " + " ".join(sys.argv[1:]),
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{os.cpu_count()} CPU cores",
        "gpus": len(visible_gpus()),
        "versions": {name: version(name) for name in ("torch", "lightning")} | {"medconv": __version__},
        "minutes": args.minutes,
        "rows": rows,
    }
    out = Path(args.results)
    out.mkdir(parents=True, exist_ok=True)
    (out / "nuclei.json").write_text(json.dumps(record, indent=1) + "\n")
    (out / "nuclei.md").write_text(markdown(record, args))
    sys.stdout.write(markdown(record, args))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="the folder with images and labels")
    parser.add_argument(
        "--arms", nargs="+", default=["percentile", "range", "half_pixel"], choices=list(ARMS)
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, each network")
    parser.add_argument("--parallel", type=int, default=3, help="networks that train side by side on a GPU")
    parser.add_argument("--overlay", nargs="*", default=["gpu"], help="further configurations")
    parser.add_argument("--work", default="scratch")
    parser.add_argument("--results", default=str(Path(__file__).parent / "results"))
    return parser.parse_args()


def measure(seed: int, arm: str, splits: Path, args: argparse.Namespace, gpu: str) -> dict:
    """One network: what its own report says, and the same averaged over mirrored copies."""
    work = Path(args.work)
    seconds = round(60 * args.minutes)
    own = ARMS[arm]
    settings = {
        "data.init_args.root": args.root,
        "data.init_args.splits": str(splits),
        "data.init_args.val_fraction": "null",
        "data.init_args.fold": "0",
        "data.init_args.cache_dir": str(work / "cache" / arm),
        "trainer.max_time": f"00:00:{seconds // 60:02d}:{seconds % 60:02d}",
        "trainer.check_val_every_n_epoch": "1000",
    }
    overlays = [word for name in args.overlay for word in ("--config", name)]
    words = [
        "fit", "--config", "nuclei_sym" if arm == "sym" else "nuclei_plain", *overlays, *own,
        "--seed_everything", str(seed), *(word for name, value in settings.items() for word in (f"--{name}", value)),
        "--runs", str(work / "runs"), "--name", f"{arm}-{seed}",
    ]  # fmt: skip
    text = run(words, work / f"{arm}-{seed}.log", gpu, args)
    folder = work / "runs" / f"{arm}-{seed}"
    run(
        ["validate", str(folder / "best.ckpt"), "--model.mirror", "true"],
        work / f"{arm}-{seed}-mirror.log", gpu, args,
    )  # fmt: skip
    mirrored = folder / "validate" / "objects.json"
    return {"arm": arm, "seed": seed, **count_epochs(text)} | {
        "upright": figures(folder / "objects.json"), "mirrored": figures(mirrored),
    }  # fmt: skip


def run(words: list[str], log: Path, gpu: str, args: argparse.Namespace) -> str:
    jobs = args.parallel * max(1, len(visible_gpus()))
    environment = {"CUDA_VISIBLE_DEVICES": gpu, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
    done = subprocess.run(
        [sys.executable, "-m", "medconv", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment,
    )  # fmt: skip
    log.write_text(done.stdout)
    if done.returncode:
        raise SystemExit(f"{words[0]} ended with {done.returncode}; see {log}\n{done.stdout[-1500:]}")
    return done.stdout


def visible_gpus() -> list[str]:
    """As the environment variable numbers them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def figures(path: Path) -> dict[str, float]:
    """What is told of the validation images."""
    summary = json.loads(path.read_text())["summary"]
    names = (
        "ref_objects",
        "found",
        "missed",
        "invented",
        "pooled_ap_50",
        *(f"mean_{name}" for name in SCORES),
    )
    return {name: summary[name] for name in names}


def markdown(record: dict, args: argparse.Namespace) -> str:
    rows = record["rows"]
    number = rows[0]["upright"]["ref_objects"]
    lines = [
        f"# What helps to tell nuclei apart, on {record['gpus'] or 1} × {record['device']}",
        "",
        f"{record['when']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
        f"`{record['command']}`: {args.minutes:g} minutes of training each, {args.parallel} side by side on a device; "
        f"{number} nuclei in the validation images. Mean over images, then over seeds (SD between seeds).",
        "",
        "| arm | mirrored | AP@0.5 | AP@0.75 | PQ | AP@0.5 over all objects | missed | invented | seeds | epochs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in args.arms:
        own = [row for row in rows if row["arm"] == arm]
        for view in ("upright", "mirrored"):
            shown = [cell([row[view][f"mean_{name}"] for row in own]) for name in SCORES]
            shown.append(cell([row[view]["pooled_ap_50"] for row in own]))
            shown += [f"{mean(row[view][name] for row in own):.0f}" for name in ("missed", "invented")]
            epochs = "/".join(str(row["epochs"]) for row in own)
            mirrored = "yes" if view == "mirrored" else "no"
            lines.append(f"| {arm} | {mirrored} | " + " | ".join(shown) + f" | {len(own)} | {epochs} |")
    return "\n".join([*lines, ""])


def cell(values: list[float]) -> str:
    return f"{mean(values):.3f}" + (f" ({stdev(values):.3f})" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
