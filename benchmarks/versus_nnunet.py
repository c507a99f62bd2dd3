"""nnU-Net v2 and medconv on the same device, the same cases and the same wall time, measured by the same ruler.

    python benchmarks/versus_nnunet.py --root Task04_Hippocampus --work scratch --epochs 40

nnU-Net (which must be importable: pip install nnunetv2 in an environment of its own and name it with --python) is
planned, preprocessed and trained for so many epochs of 250 steps on one fold of our split; then `medconv fit` gets the
seconds that nnU-Net's training took. Both predict the validation cases with mirroring, and medconv's metrics measure
both. `--only` runs one side, for two devices of one host at a time. Results go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from medconv.datamodules import NiftiDataModule
from medconv.io import discover, read_labels
from medconv.metrics import SegmentationTable

DATASET = "Dataset004_Benchmark"
TRAINER = """
import os
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerBudget(nnUNetTrainer):
    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ["NN_EPOCHS"])
"""


def main() -> None:
    args = parse()
    data = NiftiDataModule(args.root, spacing_mm="median", patch_size=[40, 56, 40], num_folds=5, fold=0)
    data.prepare_plan()
    record: dict = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "results": {},
    }
    seconds = args.seconds
    ask = "from importlib.metadata import version; print(version('nnunetv2'))"
    if args.only != "medconv":
        found = subprocess.run([args.python, "-c", ask], check=True, capture_output=True, text=True)
        record["versions"]["nnunetv2"] = found.stdout.strip()
    if args.only != "medconv":
        record["results"]["nnunet"] = nnunet(args, data)
        seconds = record["results"]["nnunet"]["train_s"]
    if args.only != "nnunet":
        record["results"]["medconv"] = medconv_fit(args, seconds)
    write(record, Path(args.results), args.only)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="folder with dataset.json (Decathlon)")
    parser.add_argument("--work", required=True, help="scratch folder")
    parser.add_argument("--epochs", type=int, default=40, help="nnU-Net's epochs of 250 steps")
    parser.add_argument("--seconds", type=float, default=411, help="medconv's time with --only medconv")
    parser.add_argument("--only", choices=["nnunet", "medconv"])
    parser.add_argument("--python", default=sys.executable, help="a Python that has nnunetv2")
    parser.add_argument("--config", default="hippocampus_plain")
    parser.add_argument("--results", default="benchmarks/results")
    return parser.parse_args()


def nnunet(args: argparse.Namespace, data: NiftiDataModule) -> dict:
    work = Path(args.work).absolute()
    folders = {name: work / name for name in ("raw", "pre", "res")}
    raw, split = folders["raw"] / DATASET, data.split()
    cases = discover(args.root).cases
    for folder in (raw / "imagesTr", raw / "labelsTr"):
        folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        shutil.copy(case.images[0], raw / "imagesTr" / f"{case.case_id}_0000.nii.gz")
        shutil.copy(case.label, raw / "labelsTr" / f"{case.case_id}.nii.gz")
    names = data.plan.label_names
    description = {
        "channel_names": {"0": "MRI"},
        "labels": {name: label for label, name in names.items()},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIO",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    # nnU-Net finds trainers by name inside its own package, so one with a chosen number of epochs is written there
    where = [args.python, "-c", "import nnunetv2; print(nnunetv2.__path__[0])"]
    package = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    (package / "training/nnUNetTrainer/variants/budget.py").write_text(TRAINER)
    env = {
        **os.environ,
        "nnUNet_raw": str(folders["raw"]),
        "nnUNet_preprocessed": str(folders["pre"]),
        "nnUNet_results": str(folders["res"]),
        "nnUNet_n_proc_DA": str(min(14, len(os.sched_getaffinity(0)))),
        "NN_EPOCHS": str(args.epochs),
    }

    def run(entry: str, *words: str) -> float:
        module, function = entry.split(":")
        start = time.perf_counter()
        subprocess.run(
            [args.python, "-c", f"from {module} import {function} as run; run()", *words], env=env, check=True
        )
        return time.perf_counter() - start

    prepare_s = run(
        "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints:plan_and_preprocess_entry",
        *("-d", "4", "-c", "3d_fullres", "-np", "8"),
    )
    folds = [{part: [cases[i].case_id for i in getattr(split, part)] for part in ("train", "validation")}]
    (folders["pre"] / DATASET / "splits_final.json").write_text(
        json.dumps([{"train": f["train"], "val": f["validation"]} for f in folds])
    )
    total_s = run(
        "nnunetv2.run.run_training:run_training_entry", "4", "3d_fullres", "0", "-tr", "nnUNetTrainerBudget"
    )
    (fold,) = folders["res"].glob(f"{DATASET}/*/fold_0")
    table = SegmentationTable(names)
    for case in (cases[i] for i in split.validation):
        truth = read_labels(case.label)
        predicted = read_labels(fold / "validation" / f"{case.case_id}.nii.gz")
        table.add(case.case_id, predicted.data[0], truth.data[0], truth.geometry.spacing_mm)
    train_s = epochs_s(fold)
    return {"prepare_s": prepare_s, "train_s": train_s, "total_s": total_s, **table.summary().to_dict()}


def epochs_s(fold: Path) -> float:
    """Seconds that nnU-Net's log gives to its epochs, without its final validation."""
    log = sorted(fold.glob("training_log_*.txt"))[-1].read_text()
    return sum(float(line.split()[-2]) for line in log.splitlines() if "Epoch time" in line)


def medconv_fit(args: argparse.Namespace, seconds: float) -> dict:
    runs = Path(args.work) / "medconv"
    whole = round(seconds)
    start = time.perf_counter()
    limit = f"00:{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    fit = [sys.executable, "-m", "medconv", "fit", "--config", args.config, "--config", "gpu"]
    where = ["--data.init_args.root", args.root, "--runs", str(runs), "--name", args.config]
    subprocess.run([*fit, *where, "--trainer.max_time", limit], check=True)
    summary = json.loads((runs / args.config / "summary.json").read_text())
    return {"train_s": seconds, "total_s": time.perf_counter() - start, **summary}


def write(record: dict, folder: Path, only: str | None) -> None:
    target = folder / ("versus_nnunet" + (f"_{only}" if only else ""))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    rows = [
        f"# nnU-Net and medconv on one {record['device']}, {record['cores']} CPU cores",
        "",
        f"{record['when']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
        "| | training (s) | whole command (s) | mean Dice | per class | mean HD95 (mm) |",
        "|---|---|---|---|---|---|",
    ]
    for name, r in record["results"].items():
        classes = ", ".join(f"{c['name']} {c['mean_dice']:.4f}" for c in r["labels"])
        rows.append(
            f"| {name} | {r['train_s']:.0f} | {r['total_s']:.0f} | {r['class_first_mean_dice']:.4f} | {classes} "
            f"| {r['class_first_mean_hd95_mm']:.3f} |"
        )
    target.with_suffix(".md").write_text("\n".join([*rows, ""]))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
