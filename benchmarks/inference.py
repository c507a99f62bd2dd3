"""From a study on disk to its mask on disk: seconds, stage by stage, and memory of the whole command.

    python benchmarks/inference.py --work scratch --results benchmarks/results     # on a GPU: ours alone
    python benchmarks/inference.py --work scratch --nnunet envs/nnunet/bin/python  # nnU-Net beside it, same weights
    python benchmarks/inference.py --work scratch --quick                          # anywhere: does it run?
    python benchmarks/inference.py --work scratch --parts huge                     # 1024³ on a CPU, 15 classes

A volume like a CT (512 × 512 × 256 of 0.8 × 0.8 × 1.5 mm), a network of 15 classes at 1 mm (the plain six-stage U-Net
with random weights), tiles of 128³ that overlap by half. Time runs from the start of the command to its end, imports
included. Peak memory is the resident memory of the process tree, read every 50 ms. `agreement` compares labels on a
volume that neither tool has to resample; `nnunet float32` is nnU-Net there with scores summed in float32, not half
precision, and with tiles trusted most in their middle, not half a voxel beside it. `volume` compares too, but there
nnU-Net resamples with splines and medconv linearly. Parts that would pass the time of --budget-s are left out and
named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from medconv import __version__
from medconv.inference import pack
from medconv.models import build_network, resolve_network
from medconv.planning import Intensity, Plan

CT = {"low": -900.0, "high": 1000.0, "mean": 50.0, "std": 200.0}
PARTS = ["volume", "mirrored", "small", "agreement"]
NNUNET_PARTS = ["nnunet volume", "nnunet agreement", "nnunet float32", "nnunet small", "nnunet mirrored"]
ABOUT_S = {
    "nnunet volume": 215,
    "nnunet agreement": 60,
    "nnunet float32": 60,
    "nnunet small": 120,
    "nnunet mirrored": 225,
}
SMALL_SHAPE = (36, 50, 35)


def main() -> None:
    args = parse()
    end = time.monotonic() + args.budget_s
    job = Job(args)
    record = about(args)
    for part in args.parts:
        left = end - time.monotonic()
        if left < (0 if args.quick else ABOUT_S.get(part, 30)):
            record["rows"].append({"part": part, "error": f"left out: {left:.0f} s of --budget-s were left"})
        else:
            record["rows"].append({"part": part, **run_part(part, job, left)})
        print(line(record["rows"][-1]), flush=True)
        write(record, Path(args.results))
    if any(row["part"].startswith("nnunet") for row in record["rows"]):
        record["agreement"] = agreements(job)
        write(record, Path(args.results))
    print("\n" + table(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", required=True, help="scratch folder")
    parser.add_argument("--results", default="benchmarks/results", help="folder of inference.json and .md")
    parser.add_argument(
        "--nnunet", help="a Python that has nnunetv2 and psutil; runs it on the same files and weights"
    )
    parser.add_argument("--images", help="folder with small volumes instead of made ones, for `small`")
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, *NNUNET_PARTS, "huge"])
    parser.add_argument("--options", default="", help="more words for medconv predict")
    parser.add_argument("--budget-s", type=float, default=530)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    args = parser.parse_args()
    args.parts = args.parts or [*PARTS, *(NNUNET_PARTS if args.nnunet else [])]
    return args


class Job:
    """Files and checkpoints that the parts share, made when they are first asked for."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.quick = args, args.quick
        self.work = Path(args.work).absolute()
        self.work.mkdir(parents=True, exist_ok=True)
        self.device = "cpu" if args.quick or not torch.cuda.is_available() else "cuda"
        self.classes = 3 if self.quick else 15
        self.channels = [4, 8, 8] if self.quick else [32, 64, 128, 256, 320, 320]
        self.patch = [32] * 3 if self.quick else [128] * 3

    def scan(self, name: str, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Path:
        """A smooth random volume in Hounsfield units with noise, as int16; in a folder of its own."""
        path = self.work / name / "case_0000.nii.gz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng(0)
            coarse = torch.from_numpy(rng.normal(0, 200, [-(-n // 8) for n in shape]).astype(np.float32))
            smooth = torch.nn.functional.interpolate(
                coarse[None, None], size=shape, mode="trilinear", align_corners=True
            )[0, 0].numpy()
            noisy = smooth + rng.normal(0, 20, shape).astype(np.float32)
            image = nib.Nifti1Image(np.clip(noisy, -1000, 1500).astype(np.int16), np.diag([*spacing, 1]))
            nib.save(image, path)
        return path.parent

    def volume(self) -> Path:
        return self.scan("volume_in", (64, 64, 32) if self.quick else (512, 512, 256), (0.8, 0.8, 1.5))

    def agreement(self) -> Path:
        return self.scan("agreement_in", (40, 40, 36) if self.quick else (256, 256, 192), (1.0, 1.0, 1.0))

    def small(self) -> Path:
        """200 volumes of the size of a hippocampus."""
        if self.args.images:
            return Path(self.args.images)
        folder = self.work / "small_in"
        for number in range(5 if self.quick else 200):
            path = folder / f"case{number:03d}_0000.nii.gz"
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                voxels = np.random.default_rng(number).normal(300, 80, SMALL_SHAPE).astype(np.int16)
                nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        return folder

    def checkpoint(self, kind: str) -> Path:
        """Of ``large`` or ``small``; with nnU-Net's weights where it runs too."""
        path = self.work / f"{kind}.ckpt"
        large = kind == "large"
        classes = self.classes if large else 3
        channels = self.channels if large or self.quick else [32, 64, 128, 256]
        plan = Plan(
            3, ("CT",), {0: "background", **{n: f"c{n}" for n in range(1, classes)}}, (1.0, 1.0, 1.0),
            tuple(self.patch if large else (40, 56, 40)), ("ct",) if large else ("zscore",),
            orientation="native", intensity=(Intensity(**CT) if large else None,),
        )  # fmt: skip
        options = {
            "channels": channels,
            "downsample": "stride",
            "upsample": "transpose",
            "deep_supervision": False,
        }
        spec = resolve_network(
            {
                "class_path": "UNet",
                "init_args": {"spatial_dims": 3, "in_channels": 1, "num_classes": classes, **options},
            }
        )
        torch.manual_seed(0)
        network = build_network(spec)
        if self.args.nnunet:
            theirs = torch.load(self.nnunet_model(kind) / "fold_0/checkpoint_final.pth", weights_only=False)
            network.load_state_dict(translated(theirs["network_weights"], len(channels)))
        state = {f"network.{key}": value for key, value in network.state_dict().items()}
        torch.save({"state_dict": state, "medconv": pack({"model": {"network": spec}}, plan, {})}, path)
        return path

    def nnunet_model(self, kind: str) -> Path:
        """nnU-Net's model folder with drawn weights, written by its own Python."""
        folder = self.work / f"nnunet_{kind}"
        if not (folder / "fold_0/checkpoint_final.pth").exists():
            (folder / "fold_0").mkdir(parents=True, exist_ok=True)
            large = kind == "large"
            channels = self.channels if large or self.quick else [32, 64, 128, 256]
            classes = self.classes if large else 3
            patch = self.patch if large else [40, 56, 40]
            write_nnunet_files(
                folder, channels, classes, patch, "CTNormalization" if large else "ZScoreNormalization"
            )
            code = NNUNET_WEIGHTS.format(folder=str(folder), channels=channels, classes=classes)
            subprocess.run([self.args.nnunet, "-c", code], check=True)
        return folder


def run_part(part: str, job: Job, left_s: float) -> dict:
    try:
        if part == "huge":
            return huge(job)
        side, _, what = part.rpartition(" ")
        kind = "small" if what == "small" else "large"
        images = {"mirrored": job.volume, "float32": job.agreement}.get(what) or getattr(job, what)
        out = job.work / part.replace(" ", "_")
        shutil.rmtree(out, ignore_errors=True)
        command = nnunet_command if side == "nnunet" else medconv_command
        words = command(job, kind, images(), out, what)
        row = measured(words, nnunet_environment(job) if side else {}, left_s)
        masks = len(list(out.glob("*.nii.gz")))
        return row | {"masks": masks} if masks else row | {"error": "no mask was written"}
    except Exception as error:
        return {"error": " ".join(repr(error).split())[:400]}


def medconv_command(job: Job, kind: str, images: Path, out: Path, what: str) -> list[str]:
    words = [
        sys.executable,
        "-m",
        "medconv",
        "predict",
        str(job.checkpoint(kind)),
        "-i",
        str(images),
        "-o",
        str(out),
    ]
    words += ["--device", job.device, *job.args.options.split()]
    words += ["--mirror"] if what == "mirrored" else []
    # nnU-Net computes in float16: labels are compared in the same arithmetic
    return words + (["--precision", "fp16"] if what == "agreement" and job.device == "cuda" else [])


def nnunet_command(job: Job, kind: str, images: Path, out: Path, what: str) -> list[str]:
    code = NNUNET_IN_FLOAT32 if what == "float32" else NNUNET_RUN
    words = [
        job.args.nnunet,
        "-c",
        code,
        "-i",
        str(images),
        "-o",
        str(out),
        "-m",
        str(job.nnunet_model(kind)),
        "-f",
        "0",
    ]
    words += [] if what == "mirrored" else ["--disable_tta"]
    return words + (["-device", "cpu"] if job.device == "cpu" else [])


def nnunet_environment(job: Job) -> dict[str, str]:
    return {name: str(job.work) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}


def measured(words: list[str], environment: dict[str, str], limit_s: float) -> dict:
    """Seconds, peak memory of the process tree, and what the command says about its stages."""
    start = time.perf_counter()
    process = subprocess.Popen(
        words, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            peak[0] = max(peak[0], tree_bytes(process.pid))
            if time.perf_counter() - start > limit_s:
                process.kill()

    watcher = threading.Thread(target=watch)
    watcher.start()
    lines = []
    for text in process.stdout:
        lines += [
            (round(time.perf_counter() - start, 1), part)
            for part in re.split(r"[\r\n]", text)
            if part.strip()
        ]
    code = process.wait()
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    row = {"seconds": round(seconds, 2), "peak_gib": round(peak[0] / 2**30, 2), "stages": stages(lines)}
    begun = next((at for at, text in lines if "case(s)" in text), None)
    if begun is not None:
        row["start_s"] = begun
    if code:
        row["error"] = f"exit code {code}: " + " | ".join(text for _, text in lines[-6:])[:600]
    return row | {"said": [f"{at} {text[:160]}" for at, text in lines if "it/s" not in text][-14:]}


def stages(lines: list[tuple[float, str]]) -> dict[str, float]:
    """Seconds per stage, from the last line of medconv predict."""
    last = next((text for _, text in reversed(lines) if " done, " in text), "")
    return {name: float(s) for name, s in re.findall(r"(\w+) ([\d.]+) s[,)]", last.partition("(")[2])}


def tree_bytes(root: int) -> int:
    """Resident memory of a process and everything that it started."""
    parents, resident = {}, {}
    page = os.sysconf("SC_PAGE_SIZE")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            resident[int(folder.name)] = int((folder / "statm").read_text().split()[1]) * page
        except (OSError, IndexError, ValueError):
            continue  # it has ended
    family = {root}
    while new := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= new
    return sum(resident.get(pid, 0) for pid in family)


def agreements(job: Job) -> dict[str, float]:
    """Share of voxels with equal labels, for every part that both tools did."""
    shares = {}
    for what in ("agreement", "volume", "mirrored"):
        ours, theirs = (sorted((job.work / folder).glob("*.nii.gz")) for folder in (what, f"nnunet_{what}"))
        if ours and theirs:
            one, other = (np.asarray(nib.load(files[0]).dataobj) for files in (ours, theirs))
            shares[what] = float((one == other).mean())
            exact = sorted((job.work / "nnunet_float32").glob("*.nii.gz"))
            if exact and what == "agreement":
                in_float32 = np.asarray(nib.load(exact[0]).dataobj)
                shares["agreement with nnunet float32"] = float((one == in_float32).mean())
                shares["nnunet agreement with nnunet float32"] = float((other == in_float32).mean())
    return shares


def huge(job: Job) -> dict:
    """1024³ voxels, 15 classes, on a CPU with a tiny network: does it stay within what it announces?"""
    edge = 64 if job.quick else 1024
    folder = job.work / "huge_in"
    path = folder / "case_0000.nii"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows = np.lib.format.open_memmap(job.work / "huge.npy", "w+", np.int16, (edge, edge, edge))
        for start in range(0, edge, 16):
            rows[start : start + 16] = np.random.default_rng(start).integers(-900, 900, (16, edge, edge))
        nib.save(nib.Nifti1Image(rows, np.eye(4)), path)
        (job.work / "huge.npy").unlink()
    job.channels, job.patch = [4, 4, 4], [min(edge, 128)] * 3
    job.device = "cpu"
    out = job.work / "huge"
    shutil.rmtree(out, ignore_errors=True)
    words = medconv_command(job, "large", folder, out, "huge")
    row = measured([*words, "--overlap", "0.25", "--memory-gb", "24"], {}, 1e9)
    found = re.search(r"memory: at most ([\d.]+) GiB", " ".join(row["said"]))
    announced = float(found[1]) if found else None
    row |= {"masks": len(list(out.glob("*.nii"))), "announced_gib": announced}
    if "error" not in row and not (row["masks"] == 1 and announced and row["peak_gib"] <= announced):
        row["error"] = f"{row['masks']} mask(s), {row['peak_gib']} GiB where {announced} were announced"
    return row


def translated(theirs: dict[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    """nnU-Net's PlainConvUNet as medconv's UNet: axes reversed, another order of stages, and skip before upsampled map.

    It reads a NIfTI volume as (z, y, x), medconv as (x, y, z). Its convolutions have a bias that the instance norm
    behind them takes away again; ours have none.
    """
    ours = {}
    theirs = {
        key: value.permute(0, 1, 4, 3, 2) if value.dim() == 5 else value for key, value in theirs.items()
    }
    for key, value in theirs.items():
        if match := re.fullmatch(r"encoder\.stages\.(\d+)\.0\.convs\.(\d+)\.(conv|norm)\.(\w+)", key):
            side, stage, unit, part, kind = "encoder", int(match[1]), match[2], match[3], match[4]
        elif match := re.fullmatch(r"decoder\.stages\.(\d+)\.convs\.(\d+)\.(conv|norm)\.(\w+)", key):
            side, stage, unit, part, kind = (
                "decoder",
                number - 2 - int(match[1]),
                match[2],
                match[3],
                match[4],
            )
            if part == "conv" and kind == "weight" and unit == "0":
                value = torch.cat(value.chunk(2, dim=1)[::-1], dim=1)
        elif match := re.fullmatch(r"decoder\.transpconvs\.(\d+)\.(\w+)", key):
            ours[f"decoder.upsamples.{number - 2 - int(match[1])}.conv.{match[2]}"] = value
            continue
        elif match := re.fullmatch(rf"decoder\.seg_layers\.{number - 2}\.(\w+)", key):
            ours[f"heads.heads.0.{match[1]}"] = value
            continue
        else:
            continue  # the same tensors under other names, and heads of deep supervision
        if not (part == "conv" and kind == "bias"):
            ours[f"{side}.blocks.{stage}.units.{unit}.{part}.{kind}"] = value
    return ours


NNUNET_RUN = (
    "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as run; run()"
)

NNUNET_IN_FLOAT32 = """
import torch
from nnunetv2.inference import predict_from_raw_data as tool
own = tool.compute_gaussian
def centred(patch, sigma_scale, value_scaling_factor, device):
    trust = torch.full((), float(value_scaling_factor), dtype=torch.float64)
    for n in patch:
        away = torch.arange(n, dtype=torch.float64) - (n - 1) / 2  # its own lies half a voxel off the middle
        trust = trust[..., None] * torch.exp(-0.5 * (away / (sigma_scale * n)) ** 2)
    return trust.to(device, torch.float32)
centred.cache_clear = own.cache_clear
tool.compute_gaussian, torch.half = centred, torch.float32  # scores are summed in what it calls torch.half
tool.predict_entry_point_modelfolder()
"""

NNUNET_WEIGHTS = """
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
n = len({channels})
torch.manual_seed(0)
net = PlainConvUNet(input_channels=1, n_stages=n, features_per_stage={channels}, conv_op=torch.nn.Conv3d,
    kernel_sizes=[[3] * 3] * n, strides=[[1] * 3] + [[2] * 3] * (n - 1), n_conv_per_stage=[2] * n,
    num_classes={classes}, n_conv_per_stage_decoder=[2] * (n - 1), conv_bias=True, norm_op=torch.nn.InstanceNorm3d,
    norm_op_kwargs=dict(eps=1e-5, affine=True), nonlin=torch.nn.LeakyReLU, nonlin_kwargs=dict(inplace=True),
    deep_supervision=True)
torch.save(dict(network_weights=net.state_dict(), trainer_name="nnUNetTrainer",
    init_args=dict(configuration="3d_fullres"), inference_allowed_mirroring_axes=(0, 1, 2)),
    r"{folder}/fold_0/checkpoint_final.pth")
"""


def write_nnunet_files(
    folder: Path, channels: list[int], classes: int, patch: list[int], scheme: str
) -> None:
    """dataset.json and plans.json as nnU-Net's inference reads them."""
    n = len(channels)
    labels = {"background": 0, **{f"c{i}": i for i in range(1, classes)}}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset | {"overwrite_image_reader_writer": "NibabelIO"}))
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": n, "features_per_stage": channels, "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3] * 3] * n, "strides": [[1] * 3] + [[2] * 3] * (n - 1), "n_conv_per_stage": [2] * n,
            "n_conv_per_stage_decoder": [2] * (n - 1), "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }  # fmt: skip
    resampling = "resample_data_or_seg_to_shape"
    data = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "x", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "patch_size": patch,
        "median_image_size_in_voxels": patch, "spacing": [1.0, 1.0, 1.0], "normalization_schemes": [scheme],
        "use_mask_for_norm": [False], "resampling_fn_data": resampling, "resampling_fn_seg": resampling,
        "resampling_fn_probabilities": resampling, "resampling_fn_data_kwargs": data,
        "resampling_fn_seg_kwargs": data | {"is_seg": True, "order": 1},
        "resampling_fn_probabilities_kwargs": data | {"order": 1}, "architecture": architecture, "batch_dice": False,
    }  # fmt: skip
    intensity = {
        "max": 3000.0, "mean": CT["mean"], "median": CT["mean"], "min": -1000.0, "percentile_00_5": CT["low"],
        "percentile_99_5": CT["high"], "std": CT["std"],
    }  # fmt: skip
    plans = {
        "dataset_name": "D", "plans_name": "P", "original_median_spacing_after_transp": [1.5, 0.8, 0.8],
        "original_median_shape_after_transp": [256, 512, 512], "image_reader_writer": "NibabelIO",
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2], "experiment_planner_used": "x",
        "label_manager": "LabelManager", "foreground_intensity_properties_per_channel": {"0": intensity},
        "configurations": {"3d_fullres": configuration},
    }  # fmt: skip
    (folder / "plans.json").write_text(json.dumps(plans))


def about(args: argparse.Namespace) -> dict:
    on_gpu = torch.cuda.is_available() and not args.quick
    versions = {"medconv": __version__, "torch": torch.__version__, "python": platform.python_version()}
    if args.nnunet:
        ask = "from importlib.metadata import version; print(version('nnunetv2'))"
        found = subprocess.run([args.nnunet, "-c", ask], capture_output=True, text=True)
        versions["nnunetv2"] = found.stdout.strip() or f"not found: {found.stderr[-200:]}"
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "cores": len(os.sched_getaffinity(0)),
        "quick": args.quick,
        "options": args.options,
        "versions": versions,
        "rows": [],
    }


def line(row: dict) -> str:
    if "error" in row:
        return f"{row['part']:18} FAILED: {row['error']}"
    spent = ", ".join(f"{name} {seconds:.1f}" for name, seconds in row["stages"].items())
    start = f", start {row['start_s']:.1f}" if "start_s" in row else ""
    figures = f"{row['seconds']:7.1f} s  {row['peak_gib']:6.2f} GiB  {row.get('masks', 0)} mask(s)"
    return f"{row['part']:18} {figures}  {spent}{start}"


def table(record: dict) -> str:
    names = ("start", "read", "preprocess", "network", "restore", "write")
    head = [
        f"# Inference, the whole command, on {record['device']}, {record['cores']} cores",
        "",
        f"{record['when']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items())
        + (f", options {record['options']}" if record["options"] else "")
        + (", tiny sizes: no figures" if record["quick"] else ""),
        "",
        "| part | masks | whole (s) | peak host (GiB) | " + " | ".join(f"{name} (s)" for name in names) + " |",
        "|---|---|---|---|" + "---|" * len(names),
    ]  # fmt: skip
    rows = []
    for row in record["rows"]:
        if "error" in row and "seconds" not in row:
            rows.append(f"| {row['part']} | {row['error']} |" + " |" * (2 + len(names)))
            continue
        spent = {"start": row.get("start_s"), **row["stages"]}
        cells = [f"{spent[name]:.1f}" if spent.get(name) is not None else "" for name in names]
        failed = f" ({row['error'][:80]})" if "error" in row else ""
        cells = [f"{row['part']}{failed}", row.get("masks", 0), row["seconds"], row["peak_gib"], *cells]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    shares = [
        f"\nEqual labels, {what}: {100 * share:.3f} %" for what, share in record.get("agreement", {}).items()
    ]
    return "\n".join([*head, *rows, *shares, ""])


def write(record: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = "inference_quick" if record["quick"] else "inference"
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    (folder / f"{name}.md").write_text(table(record))


if __name__ == "__main__":
    main()
