"""How long training waits for data: the hippocampus cases, and 64 drawn volumes of 256³, each by `medconv fit`.

    python benchmarks/data_wait.py --root Task04_Hippocampus --work scratch
    python benchmarks/data_wait.py --only large --store disk --work scratch

What is reported is what `medconv fit` itself logs: by the GPU's own clock, the time between the end of one training
step and the beginning of the next, whatever it was spent on (the batch, the loop, figures, the log); the first epoch,
with start-up and recording, is left out. Results go to benchmarks/results/ as JSON and Markdown.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
import torch
import yaml

CASES, EDGE, LABELS = 64, 256, 3
LINE = re.compile(r"epoch +(\d+) .*?([\d.]+) s \(waited for data ([\d.]+) s\)")
SIX_STAGES = {
    "class_path": "medconv.models.UNet",
    "init_args": {
        "spatial_dims": 3,
        "in_channels": 1,
        "num_classes": LABELS,
        "channels": [32, 64, 128, 256, 320, 320],
        "conv": "medconv.ops.StandardConv",
        "block": "medconv.blocks.PlainBlock",
        "deep_supervision": True,
    },
}


def main() -> None:
    args = parse()
    rows = {name: measure(name, args) for name in args.only}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python benchmarks/data_wait.py " + " ".join(sys.argv[1:]),
        "device": device,
        "versions": {name: version(name) for name in ("torch", "lightning")}
        | {"python": platform.python_version()},
        "rows": rows,
    }
    out = Path(args.results)
    out.mkdir(parents=True, exist_ok=True)
    (out / "data_wait.json").write_text(json.dumps(record, indent=2) + "\n")
    (out / "data_wait.md").write_text(markdown(record))
    sys.stdout.write(markdown(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", help="the folder with the hippocampus dataset.json")
    parser.add_argument("--work", default="scratch", help="drawn volumes, cache and runs")
    parser.add_argument("--seconds", type=int, default=40, help="of each fit")
    parser.add_argument(
        "--only", nargs="+", choices=["hippocampus", "large"], default=["hippocampus", "large"]
    )
    parser.add_argument("--store", default="auto", choices=["auto", "device", "ram", "disk"])
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--cases", type=int, default=CASES, help="of the drawn ones")
    parser.add_argument("--edge", type=int, default=EDGE, help="of the drawn ones, in voxels")
    parser.add_argument("--patch", type=int, default=128, help="of the drawn ones, in voxels")
    parser.add_argument(
        "--steps", type=int, default=None, help="in an epoch; default 250, of the large ones 100"
    )
    parser.add_argument("--results", default=str(Path(__file__).parent / "results"))
    args = parser.parse_args()
    if "hippocampus" in args.only and args.root is None:
        parser.error("--root: expected the folder of the hippocampus data, or --only large")
    return args


def measure(name: str, args: argparse.Namespace) -> dict:
    """Epochs of one fit, without the first and the unfinished last one."""
    work = Path(args.work)
    drawn = work / f"drawn_{args.cases}x{args.edge}"
    root = Path(args.root) if name == "hippocampus" else draw(drawn, args.cases, args.edge)
    steps = args.steps or (250 if name == "hippocampus" else 100)
    overlay = write_overlay(name, root, steps, args)
    config = ["--config", "hippocampus_plain"] if name == "hippocampus" else []
    command = [
        sys.executable, "-m", "medconv", "fit", *config, "--config", str(overlay), "--runs", str(work / "runs"),
        "--name", f"wait_{name}",
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    (work / f"{name}.log").write_text(done.stdout)
    epochs = [(float(s), float(w)) for _, s, w in LINE.findall(done.stdout)]
    if len(epochs) < 3:
        raise SystemExit(f"{name}: expected three epochs at least, got {len(epochs)}; see {work / name}.log")
    whole = epochs[1:-1]
    shares = [waited / seconds for seconds, waited in whole]
    return {
        "epochs": len(whole),
        "ms_per_step": 1000 * median(seconds for seconds, _ in whole) / steps,
        "wait_share": median(shares),
        "wait_share_worst": max(shares),
        "store": next((line for line in done.stdout.splitlines() if "training cases" in line), "not said"),
    }


def write_overlay(name: str, root: Path, steps: int, args: argparse.Namespace) -> Path:
    data = {
        "root": str(root),
        "steps_per_epoch": steps,
        "store": args.store,
        "cache_dir": str(Path(args.work) / "cache"),
    }
    if name == "large":
        data |= {"patch_size": [args.patch] * 3, "batch_size": 2, "val_fraction": 0.05}
    settings = {
        "data": {"class_path": "medconv.datamodules.NiftiDataModule", "init_args": data},
        "trainer": {
            "precision": args.precision,
            "max_time": f"00:00:{args.seconds // 60:02d}:{args.seconds % 60:02d}",
            "max_epochs": 1000,
            "check_val_every_n_epoch": 1000,
            "limit_val_batches": 1,
            "gradient_clip_val": 12.0,
        },
    }
    if name == "large":
        settings["model"] = {"network": SIX_STAGES}
    path = Path(args.work) / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings))
    return path


def draw(root: Path, cases: int, edge: int) -> Path:
    """Volumes of smooth noise with two structures in each, as uncompressed NIfTI."""
    names = [f"drawn_{i:03d}.nii" for i in range(cases)]
    if not (root / "dataset.json").exists():
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda i: draw_case(root, names[i], i, edge), range(cases)))
        description = {
            "name": "drawn",
            "modality": {"0": "MRI"},
            "labels": {str(i): n for i, n in enumerate(("background", "first", "second"))},
            "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names],
        }
        (root / "dataset.json").write_text(json.dumps(description))
    return root


def draw_case(root: Path, name: str, seed: int, edge: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(1, 1, 9, 9, 9)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(edge,) * 3, mode="trilinear")[0, 0].numpy()
    label = (smooth > 0.6).astype(np.uint8) + (smooth > 1.2)
    noise = rng.integers(-80, 80, size=(edge, edge, edge), dtype=np.int16)
    image = (200 * smooth).astype(np.int16) + noise
    for folder, array in (("imagesTr", image), ("labelsTr", label.astype(np.uint8))):
        nib.save(nib.Nifti1Image(array, np.eye(4)), root / folder / name)


def markdown(record: dict) -> str:
    lines = [
        f"# Waiting for data on one {record['device']}",
        "",
        f"{record['when']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
        f"`{record['command']}`: by the GPU's clock, from the end of a step to the beginning of the next.",
        "",
        "| training set | where it lies | ms a step, everything | waiting | in the worst epoch | epochs |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in record["rows"].items():
        lines.append(
            f"| {name} | {row['store']} | {row['ms_per_step']:.2f} | {row['wait_share']:.1%} | "
            f"{row['wait_share_worst']:.1%} | {row['epochs']} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
