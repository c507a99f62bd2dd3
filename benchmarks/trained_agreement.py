"""Do medconv and nnU-Net label alike with the same trained weights? The labels of the hippocampus, voxel by voxel.

    python benchmarks/trained_agreement.py --root Task04_Hippocampus --work scratch --nnunet envs/nnunet/bin/python

A network that nnU-Net can hold too (PlainConvUNet: strides down, transposed convolutions up) is trained by medconv
for ``--fit-minutes`` on the cases of fold 0 and written into a model folder of nnU-Net. Both tools then label the
cases that were kept apart, which neither has to resample, with tiles that overlap by half, without mirroring. Results
go to benchmarks/results/trained_agreement.json and .md. Drawn weights, as in ``inference.py``, leave many voxels
between two classes; trained ones do not.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
from argparse import Namespace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from inference import Job, measured, nnunet_command, nnunet_environment, translated

from medconv.inference import read_checkpoint

STAGES = 4
LIKE_NNUNET = {"downsample": "stride", "upsample": "transpose"}
"""What the shipped hippocampus network does otherwise."""


def main() -> None:
    args = parse()
    work = Path(args.work).absolute()
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = Path(args.checkpoint) if args.checkpoint else train(args, work)
    images = link_images(Path(args.root).absolute(), checkpoint.parent, work / "trained_in")
    job = Job(
        Namespace(
            work=str(work), nnunet=args.nnunet, images=None, options="", quick=False, device=args.device
        )
    )
    job.device = "cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu"
    hand_over(checkpoint, job)
    runs = {}
    for precision in ["fp32"] if job.device == "cpu" else ["fp16", "bf16", "fp32"]:
        words = [sys.executable, "-m", "medconv", "predict", str(checkpoint), "-i", str(images)]
        words += ["-o", str(work / precision), "--device", job.device, "--precision", precision]
        runs[precision] = run(words, {}, work / precision)
    theirs = work / "nnunet_trained"
    words = nnunet_command(job, "small", images, theirs, "trained")
    runs["nnU-Net"] = run(words, nnunet_environment(job), theirs)
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python benchmarks/trained_agreement.py " + " ".join(sys.argv[1:]),
        "device": torch.cuda.get_device_name() if job.device == "cuda" else "CPU",
        "versions": {"torch": version("torch"), "python": platform.python_version()},
        "cases": len(list(images.iterdir())),
        "seconds": {name: row["seconds"] for name, row in runs.items()},
        "agreement": {name: agreement(work / name, theirs) for name in runs if name != "nnU-Net"},
    }
    out = Path(args.results)
    out.mkdir(parents=True, exist_ok=True)
    (out / "trained_agreement.json").write_text(json.dumps(record, indent=2) + "\n")
    (out / "trained_agreement.md").write_text(markdown(record))
    sys.stdout.write(markdown(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", required=True, help="the folder with the hippocampus dataset.json")
    add("--work", required=True, help="scratch folder")
    add("--nnunet", required=True, help="a Python that has nnunetv2 and psutil")
    add("--checkpoint", help="of such a network in its run folder; else one is trained")
    add("--fit-minutes", type=float, default=1.0)
    add("--device", default="auto", help="of both tools: auto or cpu")
    add("--results", default=str(Path(__file__).parent / "results"))
    return parser.parse_args()


def train(args: argparse.Namespace, work: Path) -> Path:
    """The best checkpoint of a short fit of fold 0."""
    shutil.rmtree(work / "trained_runs", ignore_errors=True)
    overlay = work / "trained.yaml"
    seconds = round(60 * args.fit_minutes)
    overlay.write_text(
        json.dumps(
            {
                "model": {"network": {"init_args": LIKE_NNUNET}},
                "data": {
                    "init_args": {
                        "root": str(Path(args.root).absolute()),
                        "cache_dir": str(work / "trained_cache"),
                    }
                },
                "trainer": {"max_time": f"00:00:{seconds // 60:02d}:{seconds % 60:02d}"},
            }
        )
    )
    words = [sys.executable, "-m", "medconv", "fit", "--config", "hippocampus_plain"]
    words += [] if args.device == "cpu" or not torch.cuda.is_available() else ["--config", "gpu"]
    words += ["--config", str(overlay), "--runs", str(work / "trained_runs"), "--name", "trained"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return next((work / "trained_runs").rglob("best.ckpt"))


def link_images(root: Path, run_folder: Path, folder: Path) -> Path:
    """The images of the validation cases under nnU-Net's names."""
    (split,) = json.loads((run_folder / "splits_final.json").read_text())[:1]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for case in split["val"]:
        (folder / f"{case}_0000.nii.gz").symlink_to(root / "imagesTr" / f"{case}.nii.gz")
    return folder


def hand_over(checkpoint: Path, job: Job) -> None:
    """Write the weights of a medconv network into nnU-Net's model folder."""
    ours = read_checkpoint(checkpoint).state_dict
    shutil.rmtree(job.work / "nnunet_small", ignore_errors=True)
    path = job.nnunet_model("small") / "fold_0/checkpoint_final.pth"
    theirs = torch.load(path, weights_only=False)
    taken = set()
    for key, value in theirs["network_weights"].items():
        # written in place: each tensor stands under several names there
        if key.endswith("conv.bias"):
            value.zero_()
        for name in translated({key: value}, STAGES):
            # turning axes and swapping halves undo themselves, so the way there is the way back
            value.copy_(translated({key: ours[name]}, STAGES)[name])
            taken.add(name)
    left = {name for name in ours if name not in taken and not name.startswith("heads.heads.")}
    if left:
        raise SystemExit(f"weights that nnU-Net has no place for: {sorted(left)}")
    torch.save(theirs, path)


def run(words: list[str], environment: dict[str, str], out: Path) -> dict:
    shutil.rmtree(out, ignore_errors=True)
    row = measured(words, environment, 1e9)
    if "error" in row:
        raise SystemExit(f"{' '.join(words[:4])} …: {row['error']}")
    return row


def agreement(ours: Path, theirs: Path) -> dict[str, float]:
    """Share of equal labels over all voxels, over those that one of the two calls foreground, and of the worst case."""
    equal = voxels = same_foreground = foreground = 0
    worst = 1.0
    for path in sorted(ours.glob("*.nii.gz")):
        one, other = (np.asarray(nib.load(file).dataobj) for file in (path, theirs / path.name))
        is_equal, is_any = one == other, (one > 0) | (other > 0)
        equal, voxels = equal + int(is_equal.sum()), voxels + one.size
        same_foreground, foreground = (
            same_foreground + int(is_equal[is_any].sum()),
            foreground + int(is_any.sum()),
        )
        worst = min(worst, float(is_equal.mean()))
    return {"voxels": equal / voxels, "foreground": same_foreground / foreground, "worst_case": worst}


def markdown(record: dict) -> str:
    lines = [
        f"# Labels of medconv and nnU-Net with the same trained weights, {record['cases']} cases, {record['device']}",
        "",
        f"{record['when']}, "
        + ", ".join(f"{name} {value}" for name, value in record["versions"].items())
        + f"; `{record['command']}`",
        "",
        "| precision of medconv | equal labels, all voxels | of those either calls foreground | worst case | "
        "whole command (s) |",
        "|---|---|---|---|---|",
    ]
    for name, shares in record["agreement"].items():
        cells = [f"{shares[key]:.4%}" for key in ("voxels", "foreground", "worst_case")]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {record['seconds'][name]:.1f} |")
    lines += ["", f"nnU-Net itself: {record['seconds']['nnU-Net']:.1f} s. It computes in float16 on a GPU."]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
