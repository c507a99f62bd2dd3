"""Many files, one of them broken, and a process killed on the way: what is lost, and what does a rerun do?

    python benchmarks/scale.py --work scratch                      # 300 files, on a GPU where there is one
    python benchmarks/scale.py --work scratch --cases 30 --device cpu

`actor`: `medconv predict --engine ray`, one actor of the pool killed (SIGKILL) when a tenth of the masks exist.
`shard`: two commands with `--shard i/2`, the first killed whole. Then the same commands again, which may do only what
is missing; then the broken file is mended and they run once more. Masks are compared with those of one plain command,
and whether a rerun touched one that was there is read from its clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from medconv import __version__
from medconv.inference import pack
from medconv.models import build_network, resolve_network
from medconv.planning import Plan

SHAPE = (36, 50, 35)
BROKEN = "case007.nii.gz"


def main() -> None:
    args = parse()
    job = Job(args)
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "benchmarks/scale.py", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name() if job.device == "cuda" else "CPU",
        "cores": len(os.sched_getaffinity(0)),
        "cases": args.cases,
        "versions": versions(),
        "rows": [],
    }
    plain = job.work / "plain"
    seconds, code = job.run(plain)
    record["plain"] = {"seconds": seconds, "exit_code": code, "masks": len(masks(plain))}
    for part in args.parts:
        record["rows"].append({"part": part, **PARTS[part](job, masks(plain))})
        write(record, Path(args.results))
    sys.stdout.write(table(record))
    sys.exit(0 if all(is_kept(row, args.cases) for row in record["rows"]) else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", required=True, help="scratch folder")
    parser.add_argument("--results", default="benchmarks/results", help="folder of scale.json and .md")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--device", choices=["cuda", "cpu"])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    return parser.parse_args()


class Job:
    """Files and a checkpoint in a scratch folder, and the command over them."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.work = Path(args.work).absolute()
        self.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
        # one card holds all actors no better than one, and Ray gives each a card
        self.actors = min(args.actors, torch.cuda.device_count()) if self.device == "cuda" else args.actors
        self.scans = self.work / f"scans_{args.cases}"
        self.checkpoint = self.work / "small.ckpt"
        self._make_scans(args.cases)
        self._make_checkpoint()

    def command(self, out: Path, *words: str) -> list[str]:
        start = [sys.executable, "-m", "medconv", "predict", str(self.checkpoint), "-i", str(self.scans)]
        return [*start, "-o", str(out), "--device", self.device, "--skip-existing", *words]

    def run(self, out: Path, *words: str) -> tuple[float, int]:
        shutil.rmtree(out, ignore_errors=True)
        start = time.perf_counter()
        code = subprocess.run(self.command(out, *words), capture_output=True).returncode
        return round(time.perf_counter() - start, 2), code

    def ray_words(self, report: Path) -> tuple[str, ...]:
        return ("--engine", "ray", "--devices", str(self.actors), "--report", str(report))

    def mend(self) -> None:
        save_scan(self.scans / BROKEN, 7)

    def break_one(self) -> None:
        path = self.scans / BROKEN
        save_scan(path, 7)
        path.write_bytes(path.read_bytes()[:2000])

    def _make_scans(self, count: int) -> None:
        self.scans.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = self.scans / f"case{number:03d}.nii.gz"
            if not path.exists():
                save_scan(path, number)
        self.break_one()

    def _make_checkpoint(self) -> None:
        names = {0: "background", 1: "anterior", 2: "posterior"}
        plan = Plan(3, ("MRI",), names, (1.0, 1.0, 1.0), (40, 56, 40), ("zscore",), orientation="native")
        options = {"spatial_dims": 3, "in_channels": 1, "num_classes": 3, "channels": [8, 16, 32]}
        spec = resolve_network({"class_path": "UNet", "init_args": options})
        torch.manual_seed(0)
        state = {f"network.{key}": value for key, value in build_network(spec).state_dict().items()}
        content = {"state_dict": state, "medconv": pack({"model": {"network": spec}}, plan, {})}
        torch.save(content, self.checkpoint)


def save_scan(path: Path, seed: int) -> None:
    voxels = np.random.default_rng(seed).normal(300, 80, SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)


# ---------------------------------------------------------------- the parts


def actor(job: Job, plain: dict[str, Path]) -> dict:
    """One actor of the pool is killed."""
    out, report = job.work / "actor", job.work / "actor.json"
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    process = started(job.command(out, *job.ray_words(report)))
    killed = kill_when(process, out, len(plain) // 10, lambda: descendants(process.pid, "MapWorker"))
    family = descendants(process.pid)
    ports = listening(family)
    code = process.wait()
    row = {"killed": killed, "exit_code": code, "seconds": round(time.perf_counter() - start, 2)}
    row |= {"counts": counts(report), "failures": failures(report), "masks": len(masks(out))}
    row |= {
        "processes_left": left_of(family),
        "ports": len(ports),
        "ports_open_to_others": sum(not is_loopback(address) for address in ports),
        "equal_to_plain": equal(out, plain),
        "hidden_files_left": len(hidden(out)),
    }
    return row | rerun(job, out, lambda: [job.command(out, *job.ray_words(report))], [report])


def shard(job: Job, plain: dict[str, Path]) -> dict:
    """One of two shards is killed."""
    out = job.work / "shard"
    shutil.rmtree(out, ignore_errors=True)
    reports = [job.work / f"shard_{number}.json" for number in (1, 2)]
    commands = [
        job.command(out, "--shard", f"{number}/2", "--report", str(report))
        for number, report in enumerate(reports, start=1)
    ]
    start = time.perf_counter()
    first = started(commands[0])
    killed = kill_when(first, out, len(plain) // 10, lambda: [first.pid])
    first.wait()
    lost = len(hidden(out))
    codes = [subprocess.run(command, capture_output=True).returncode for command in commands]
    row = {"killed": killed, "exit_code": max(codes), "seconds": round(time.perf_counter() - start, 2)}
    row |= {"failures": [line for report in reports for line in failures(report)], "masks": len(masks(out))}
    row |= {"equal_to_plain": equal(out, plain), "hidden_files_after_the_kill": lost}
    return row | rerun(job, out, lambda: commands, reports)


PARTS: dict[str, Callable[[Job, dict[str, Path]], dict]] = {"actor": actor, "shard": shard}


def rerun(job: Job, out: Path, commands: Callable[[], list[list[str]]], reports: list[Path]) -> dict:
    """The same again, with the broken file and with it mended: masks that are there must not be touched."""
    before = {name: path.stat().st_mtime_ns for name, path in masks(out).items()}
    found = {}
    for kind in ("rerun", "mended"):
        if kind == "mended":
            job.mend()
        start = time.perf_counter()
        for command in commands():
            subprocess.run(command, capture_output=True)
        total = {"ok": 0, "skipped": 0, "failed": 0}
        for report in reports:
            total = {status: total[status] + counts(report)[status] for status in total}
        touched = sum(masks(out)[name].stat().st_mtime_ns != clock for name, clock in before.items())
        seconds = round(time.perf_counter() - start, 2)
        found[kind] = {"counts": total, "masks": len(masks(out)), "touched": touched, "seconds": seconds}
    job.break_one()
    return found


def is_kept(row: dict, cases: int) -> bool:
    """Whether the promise was kept: all masks but one, one named failure, and reruns that do one."""
    named = [BROKEN in line for line in row["failures"]] == [True]
    again = row["rerun"]["counts"] == {"ok": 0, "skipped": cases - 1, "failed": 1}
    mended = row["mended"]["counts"] == {"ok": 1, "skipped": cases - 1, "failed": 0}
    touched = row["rerun"]["touched"] + row["mended"]["touched"]
    kinds = ("processes_left", "ports_open_to_others", "hidden_files_left")
    left = sum(row.get(kind, 0) for kind in kinds)
    figures = (row["masks"], row["exit_code"], row["killed"]) == (cases - 1, 1, 1)
    return figures and named and again and mended and not touched and not left and row["equal_to_plain"]


# ---------------------------------------------------------------- processes, ports and files


def started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_when(
    process: subprocess.Popen[bytes], out: Path, count: int, victims: Callable[[], list[int]]
) -> int:
    """Kill the first victim when so many masks exist; how many were killed."""
    while process.poll() is None:
        if len(masks(out)) >= max(1, count):
            for pid in victims()[:1]:
                os.kill(pid, signal.SIGKILL)
                return 1
        time.sleep(0.005)
    return 0


def descendants(root: int, title: str = "") -> list[int]:
    """Processes that a process started, whose command line holds a word."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended
    family = {root}
    while new := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= new
    return sorted(pid for pid in family - {root} if title in titles.get(pid, ""))


def left_of(family: list[int], patience_s: float = 5.0) -> int:
    """How many of these processes are still there after a moment in which the last of them may end."""
    end = time.monotonic() + patience_s
    while (left := sum(Path(f"/proc/{pid}").exists() for pid in family)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def listening(family: list[int]) -> set[str]:
    """Local addresses at which these processes listen."""
    sockets = set()
    for pid in family:
        try:
            sockets |= {str(handle.readlink()) for handle in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue  # it has ended, or a file was closed meanwhile
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        if (path := Path("/proc/net") / name).exists()
        for line in path.read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def is_loopback(address: str) -> bool:
    """Of an address as /proc writes it: 127.0.0.1, the same within IPv6, or ::1."""
    host = address.partition(":")[0]
    return host.endswith("0100007F") or host == "00000000000000000000000001000000"


def masks(out: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(out.glob("*.nii.gz")) if not path.name.startswith(".")}


def hidden(out: Path) -> list[Path]:
    return sorted(path for path in out.glob(".*") if path.is_file())


def equal(out: Path, plain: dict[str, Path]) -> bool:
    found = masks(out)
    return set(found) == set(plain) and all(
        np.array_equal(np.asarray(nib.load(path).dataobj), np.asarray(nib.load(plain[name]).dataobj))
        for name, path in found.items()
    )


def counts(report: Path) -> dict[str, int]:
    return json.loads(report.read_text())["counts"]


def failures(report: Path) -> list[str]:
    cases = json.loads(report.read_text())["cases"]
    # without the folders of this machine
    return [re.sub(r"\S*/", "", case["message"])[:200] for case in cases if case["status"] == "failed"]


# ---------------------------------------------------------------- the record


def versions() -> dict[str, str]:
    found = {"medconv": __version__, "torch": torch.__version__, "python": platform.python_version()}
    try:
        import ray

        found["ray"] = ray.__version__
    except ImportError:
        pass
    return found


def table(record: dict) -> str:
    head = [
        f"# Killed on the way, {record['cases']} files on {record['device']}, {record['cores']} cores",
        "",
        f"{record['when']}, " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "",
        f"`{record['command']}`; one plain command: {record['plain']['masks']} masks in "
        f"{record['plain']['seconds']} s, exit code {record['plain']['exit_code']}",
        "",
        "| killed | masks | failures | exit code | equal to plain | rerun: done, skipped, failed | mended: the same "
        "| masks touched again | whole (s) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows = []
    for row in record["rows"]:
        again = [", ".join(map(str, row[kind]["counts"].values())) for kind in ("rerun", "mended")]
        touched = row["rerun"]["touched"] + row["mended"]["touched"]
        cells = [f"{row['killed']} {row['part']}", row["masks"], len(row["failures"]), row["exit_code"]]
        cells += [row["equal_to_plain"], *again, touched, row["seconds"]]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    left = [
        f"\nLeft by Ray: {row['processes_left']} processes (so no ports), {row['hidden_files_left']} hidden files; "
        f"{row['ports_open_to_others']} of its {row['ports']} ports were open to other machines"
        for row in record["rows"]
        if "ports" in row
    ]
    return "\n".join([*head, *rows, *left, ""])


def write(record: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scale.json").write_text(json.dumps(record, indent=2) + "\n")
    (folder / "scale.md").write_text(table(record))


if __name__ == "__main__":
    main()
