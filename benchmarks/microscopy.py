"""From a folder of microscopy images to a mask of numbered objects for each: images a second of the whole command.

    python benchmarks/microscopy.py --work scratch --data nuclei --checkpoint runs/nuclei_plain/best.ckpt     # on a GPU
    OMP_NUM_THREADS=1 python benchmarks/microscopy.py --work scratch --data nuclei --device cpu --network small
    python benchmarks/microscopy.py --work scratch --data nuclei --quick                      # does it run?

The images are made of real ones: each is a picture of the folder ``DATA/images``, repeated until it fills 512 × 512.
Without ``--checkpoint`` a network is trained on ``DATA`` first, for ``--fit-minutes``: how long objects take to tell
apart depends on whether the network has learned anything. Time runs from the start of the command to its end, imports
included; "from the first case on" leaves the start out. Read, write and telling apart run beside the network, so their
seconds are not part of a sum.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from inference import measured
from PIL import Image

from medconv import __version__

STAGES = ("read", "preprocess", "network", "restore", "separate", "write")
NETWORKS = {"small": ["cpu", "nuclei_small"], "full": ["gpu"]}


def main() -> None:
    """Make what is missing, run the command, report."""
    args = parse()
    work = Path(args.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    images = make_images(Path(args.data) / "images", work / f"images_{args.side}", args.count, args.side)
    checkpoint = Path(args.checkpoint) if args.checkpoint else train(args, work)
    rows = []
    for options in args.options:
        rows.append(measure(args, images, checkpoint, work / "masks", options))
        print(json.dumps({key: value for key, value in rows[-1].items() if key != "said"}), flush=True)
    record = {**about(args, checkpoint), "rows": rows}
    write(record, Path(args.results))
    print("\n" + table(record))


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--work", required=True, help="scratch folder")
    add("--data", required=True, help="folder with images/ and labels/ that number objects")
    add("--results", default="benchmarks/results", help="folder of the JSON and Markdown files")
    add("--checkpoint", help="of a network that tells objects apart; else one is trained")
    add("--network", choices=NETWORKS, default="full", help="that is trained; small: as in the demo")
    add("--fit-minutes", type=float, default=3.0)
    add("--device", default="auto", help="of medconv predict")
    add("--count", type=int, default=250, help="images")
    add("--side", type=int, default=512, help="of each image, in pixels")
    add("--options", nargs="+", default=[""], help="more words for medconv predict; a run for each")
    add("--quick", action="store_true", help="few images and steps, to see that it runs: no figures")
    args = parser.parse_args()
    if args.quick:
        args.count, args.fit_minutes, args.network, args.device = 6, 0.2, "small", "cpu"
    return args


def make_images(source: Path, folder: Path, count: int, side: int) -> Path:
    """Images of one size: those of a folder in turn, each repeated until it fills one, and shifted each time round."""
    paths = sorted(source.glob("*.png"))
    if not paths:
        sys.exit(f"{source}: expected PNG images, found none")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number in range(count):
        grey = np.asarray(Image.open(paths[number % len(paths)]).convert("L"))
        shifted = np.roll(grey, 37 * (number // len(paths)), axis=(0, 1))
        repeats = [-(-side // size) for size in grey.shape]
        Image.fromarray(np.tile(shifted, repeats)[:side, :side]).save(folder / f"image{number:04d}.png")
    return folder


def train(args: argparse.Namespace, work: Path) -> Path:
    """A network that was trained for some minutes."""
    run = work / f"runs_{args.network}"
    found = sorted(run.rglob("best.ckpt"))
    if not found:
        words = [sys.executable, "-m", "medconv", "fit", "--config", "nuclei_plain"]
        words += [word for name in NETWORKS[args.network] for word in ("--config", name)]
        words += ["--data.init_args.root", str(Path(args.data).absolute())]
        seconds = round(args.fit_minutes * 60)
        words += [
            "--trainer.max_time",
            f"00:{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}",
        ]
        words += ["--trainer.check_val_every_n_epoch", "1"]
        run.mkdir()
        subprocess.run(words, cwd=run, check=True)
        found = sorted(run.rglob("best.ckpt"))
    return found[0]


def measure(args: argparse.Namespace, images: Path, checkpoint: Path, masks: Path, options: str) -> dict:
    """One run of the command."""
    shutil.rmtree(masks, ignore_errors=True)
    words = [sys.executable, "-m", "medconv", "predict", str(checkpoint), "-i", str(images), "-o", str(masks)]
    load, before = os.getloadavg()[0], cpu_s()
    row = measured([*words, "--device", args.device, *options.split()], {}, 1e9)
    made = len(list(masks.glob("*.tif")))
    if made != args.count and "error" not in row:
        row["error"] = f"{made} masks of {args.count}"
    cases_s = row["seconds"] - row.get("start_s", 0.0)
    return {
        "options": options,
        "masks": made,
        "images_per_s": round(made / row["seconds"], 2),
        "images_per_s_from_first_case": round(made / cases_s, 2),
        "cpu_s": round(cpu_s() - before, 1),
        "load_before": round(load, 1),
        **row,
    }


def cpu_s() -> float:
    """Seconds of processors that commands have taken so far; on a busy machine they say more than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def about(args: argparse.Namespace, checkpoint: Path) -> dict:
    """What the figures belong to."""
    config = torch.load(checkpoint, map_location="cpu", weights_only=True)["medconv"]
    network = config["config"]["model"]["network"]["init_args"]
    is_gpu = args.device != "cpu" and torch.cuda.is_available()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    return {
        "command": "python " + " ".join(sys.argv),
        "commit": commit,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if is_gpu else "CPU",
        "cores": len(os.sched_getaffinity(0)),
        "threads": os.environ.get("OMP_NUM_THREADS", "as many as cores"),
        "quick": args.quick,
        "count": args.count,
        "side": args.side,
        "channels": network["channels"],
        "patch_size": list(config["plan"]["patch_size"]),
        "versions": {
            "medconv": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def table(record: dict) -> str:
    """The figures in Markdown."""
    channels = "-".join(map(str, record["channels"]))
    patch = "×".join(map(str, record["patch_size"]))
    head = [
        f"# Numbered objects in {record['count']} images of {record['side']}², the whole command, on "
        f"{record['device']}, {record['cores']} CPU cores",
        "",
        f"`medconv predict`, plain U-Net {channels}, tiles of {patch} that overlap by half; threads of PyTorch: "
        f"{record['threads']}. Commit {record['commit']}, {record['when']}, "
        + ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        + (". Few images and steps: no figures." if record["quick"] else "."),
        "",
        "| options | masks | whole (s) | images/s | from the first case on (images/s) | processors (s) | load before "
        "| peak host (GiB) | start (s) | " + " | ".join(f"{name} (s)" for name in STAGES) + " |",
        "|---" * (9 + len(STAGES)) + "|",
    ]
    rows = []
    for row in record["rows"]:
        spent = [row["stages"].get(name) for name in STAGES]
        cells = [row["options"] or "none", row["masks"], row["seconds"], row["images_per_s"]]
        cells += [
            row["images_per_s_from_first_case"],
            row["cpu_s"],
            row["load_before"],
            row["peak_gib"],
            row.get("start_s", ""),
            *spent,
        ]
        rows.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
        if "error" in row:
            rows.append(f"\nFailed: {row['error'][:300]}")
    return "\n".join([*head, *rows, ""])


def write(record: dict, folder: Path) -> None:
    """JSON and Markdown, apart for processors and GPUs."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = "quick" if record["quick"] else "cpu" if record["device"] == "CPU" else "gpu"
    (folder / f"microscopy_{kind}.json").write_text(json.dumps(record, indent=2) + "\n")
    (folder / f"microscopy_{kind}.md").write_text(table(record))


if __name__ == "__main__":
    main()
