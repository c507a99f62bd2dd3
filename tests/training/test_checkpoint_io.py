from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch

from medconv.training.checkpoint_io import AtomicCheckpointIO, remove_unfinished

KILLED_WHILE_SAVING = """
import sys, torch
from medconv.training.checkpoint_io import AtomicCheckpointIO
writer = AtomicCheckpointIO()
n = 0
while True:
    n += 1
    writer.save_checkpoint({"n": n, "weights": torch.full((8_000_000,), float(n))}, sys.argv[1])
    print(n, flush=True)
"""


def test_what_is_saved_is_what_is_read(tmp_path):
    path = tmp_path / "deep" / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"x": torch.arange(3)}, path)
    assert torch.load(path, weights_only=True)["x"].tolist() == [0, 1, 2]
    assert [p.name for p in path.parent.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_who_may_read_a_checkpoint_is_the_umask_s_to_say(tmp_path, mask):
    before = os.umask(mask)
    try:
        AtomicCheckpointIO().save_checkpoint({"x": 1}, tmp_path / "a.ckpt")
    finally:
        os.umask(before)
    assert (tmp_path / "a.ckpt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"n": 1}, path)

    def full_disk(checkpoint, stream):
        stream.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        writer.save_checkpoint({"n": 2}, path)
    assert torch.load(path, weights_only=True)["n"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_storage_options_are_refused_not_ignored(tmp_path):
    with pytest.raises(TypeError, match="takes no storage_options"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "a.ckpt", storage_options={})


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.01, 0.03, 0.05, 0.08])
def test_a_kill_during_saving_leaves_a_whole_checkpoint(tmp_path, delay_s):
    path = tmp_path / "a.ckpt"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED_WHILE_SAVING, str(path)], stdout=subprocess.PIPE, text=True
    )
    saved = int(child.stdout.readline())
    time.sleep(delay_s)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert zipfile.ZipFile(path).testzip() is None
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["n"] >= saved
    assert bool((checkpoint["weights"] == checkpoint["n"]).all())
    remove_unfinished(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]
