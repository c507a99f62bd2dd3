from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from medconv.io import claim as claim_module
from medconv.io.claim import claim

HOLDER = """
import sys
from medconv.io.claim import claim
with claim(sys.argv[1]) as mine:
    print(mine, flush=True)
    sys.stdin.read()
"""


def test_one_claim_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.nii.gz"
    with claim(target) as mine:
        assert mine
        with claim(target) as other, claim(target.with_name("b.nii.gz")) as neighbour:
            assert (other, neighbour) == (False, True)
        assert [path.name for path in target.parent.iterdir()] == [".a.nii.gz.lock"]
    assert list(target.parent.iterdir()) == []
    with claim(target) as again:
        assert again


def test_a_claim_ends_with_its_block_however_that_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), claim(tmp_path / "a.nii"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_killed_job_does_not_block_its_successor(tmp_path: Path) -> None:
    target = tmp_path / "a.nii"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with claim(target) as mine:
        assert not mine
    holder.kill()
    holder.communicate()
    assert (tmp_path / ".a.nii.lock").exists()  # its file is left, its lock is not
    with claim(target) as mine:
        assert mine
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_is_removed_meanwhile_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, calls = fcntl.flock, []

    def after_its_holder_left(descriptor: int, how: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / ".a.nii.lock").unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", after_its_holder_left)
    with claim(tmp_path / "a.nii") as mine:
        assert mine
        assert (tmp_path / ".a.nii.lock").exists()
    assert len(calls) == 2


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_everybody_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def without(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", without)
    with claim(tmp_path / "a.nii") as mine:
        assert mine
    monkeypatch.setattr(claim_module, "fcntl", None)
    with claim(tmp_path / "a.nii") as mine, claim(tmp_path / "a.nii") as other:
        assert (mine, other) == (True, True)
