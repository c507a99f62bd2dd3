from __future__ import annotations

import pickle
import random
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from medconv.errors import CheckpointError
from medconv.inference.archive import load_plain

FIRED: list[str] = []


class Bomb:
    """Unpickling it calls ``fire``."""

    def __reduce__(self) -> Any:
        return fire, ("unpickled",)


def fire(what: str) -> None:
    FIRED.append(what)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"w": torch.arange(200.0)}, "epoch": 3}, path)
    return path


def test_plain_content_comes_back_on_the_cpu(saved: Path) -> None:
    content = load_plain(saved)
    assert content["epoch"] == 3
    assert torch.equal(content["state_dict"]["w"], torch.arange(200.0))


def test_every_truncation_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in (1, 2, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"a\.ckpt: the file is truncated at \d+ bytes"):
            load_plain(saved)
    saved.write_bytes(b"")
    with pytest.raises(CheckpointError, match="truncated at 0 bytes; copy it again"):
        load_plain(saved)


def test_no_flipped_byte_changes_a_weight_unseen(saved: Path) -> None:
    whole, good = saved.read_bytes(), load_plain(saved)
    seen_damage = 0
    for place in random.Random(0).sample(range(len(whole)), 300):
        altered = bytearray(whole)
        altered[place] ^= 0xFF
        saved.write_bytes(altered)
        try:
            content = load_plain(saved)
        except CheckpointError:
            seen_damage += 1
        else:  # padding between entries, or a date
            assert torch.equal(content["state_dict"]["w"], good["state_dict"]["w"])
            assert content["epoch"] == 3
    assert seen_damage > 150


def test_a_flipped_weight_is_told_from_its_checksum(saved: Path) -> None:
    altered = bytearray(saved.read_bytes())
    altered[altered.find(torch.arange(200.0).numpy().tobytes()) + 100] ^= 1
    saved.write_bytes(altered)
    text = (
        r"the file is damaged; copy it again from its source.*\(entry 'a/data/0' differs from its checksum\)"
    )
    with pytest.raises(CheckpointError, match=text):
        load_plain(saved)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "tar", "nested"])
def test_code_is_refused_and_not_run(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / "evil.ckpt"
    if how == "zip":
        torch.save({"state_dict": Bomb()}, path)
    elif how == "nested":
        torch.save({"state_dict": {}, "medconv": {"metrics": [{"a": Bomb()}]}}, path)
    elif how == "legacy":
        torch.save({"state_dict": Bomb()}, path, _use_new_zipfile_serialization=False)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        inner = tmp_path / "pickle"
        inner.write_bytes(pickle.dumps(Bomb()))
        with tarfile.open(path, "w") as archive:
            archive.add(inner, "pickle")
    FIRED.clear()
    with pytest.raises(
        CheckpointError, match=r"evil\.ckpt: (it holds Python objects|not a medconv checkpoint)"
    ):
        load_plain(path)
    assert not FIRED


def test_a_module_named_by_the_file_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import evil_module

    torch.save({"state_dict": evil_module.Thing()}, tmp_path / "evil.ckpt")
    del sys.modules["evil_module"]
    with pytest.raises(CheckpointError, match="it holds Python objects"):
        load_plain(tmp_path / "evil.ckpt")
    assert "evil_module" not in sys.modules


def test_a_compressed_archive_could_unpack_to_anything_and_is_refused(saved: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
    with pytest.raises(CheckpointError, match=r"bomb\.ckpt: the file is damaged"):
        load_plain(bomb)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.ckpt"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"other\.ckpt: the file is damaged"):
        load_plain(other)


def test_a_bare_tensor_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(torch.zeros(2), tmp_path / "t.ckpt")
    with pytest.raises(
        CheckpointError, match=r"t\.ckpt: not a medconv checkpoint \(it holds one Tensor\); give"
    ):
        load_plain(tmp_path / "t.ckpt")


@pytest.mark.parametrize(("name", "what"), [("absent.ckpt", "nothing"), ("", "a folder")])
def test_a_missing_file_is_told(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(CheckpointError, match=rf"expected a checkpoint file, got {what}; check the path"):
        load_plain(tmp_path / name)


def test_text_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_text("version https://git-lfs\n")
    with pytest.raises(CheckpointError, match=r"not a medconv checkpoint; give a \.ckpt written by"):
        load_plain(tmp_path / "a.ckpt")
