"""Archives that try everything; nothing of a refused one is left."""

from __future__ import annotations

import bz2
import errno
import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medconv.errors import ArchiveError, ConfigError
from medconv.io import unpack as unpack_module
from medconv.io.unpack import unpack

FILES = {
    "set/dataset.json": b"{}",
    "set/imagesTr/a.nii": b"a" * 5000,
    "set/imagesTr/._a.nii": b"x",
    "set/.DS_Store": b"y",
}


def tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o777
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def there(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: tar(p / "s.tar", FILES),
        lambda p: tar(p / "s.tar.gz", FILES, "w:gz"),
        lambda p: zipped(p / "s.zip", FILES),
    ],
    ids=["tar", "tar.gz", "zip"],
)
def test_files_are_unpacked_without_what_systems_leave(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    archive = make(tmp_path)
    folder = unpack(archive, tmp_path / "data" / "set")
    assert there(folder) == ["dataset.json", "imagesTr/a.nii"]
    assert (folder / "imagesTr/a.nii").read_bytes() == b"a" * 5000
    assert not stat.S_IMODE((folder / "dataset.json").stat().st_mode) & 0o111
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["set"]


def test_an_archive_without_a_folder_of_its_own_gets_one(tmp_path: Path) -> None:
    folder = unpack(zipped(tmp_path / "s.zip", {"a/1.png": b"1", "b/2.png": b"2"}), tmp_path / "cells")
    assert there(folder) == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/x",
        "C:/x",
        "C:\\x",
        "a\\..\\..\\x",
        "\\\\host\\share\\x",
        "a\nb",
        "n" * 2000,
    ],
)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    files = {"ok.txt": b"1", name: b"2"}
    archive = tar(tmp_path / "s.tar", files) if kind == "tar" else zipped(tmp_path / "s.zip", files)
    with pytest.raises(ArchiveError, match="would be written outside the folder, or is no plain name"):
        unpack(archive, tmp_path / "data" / "set")
    assert not list((tmp_path / "data").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", archive.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ArchiveError, match="'link' is a link or a device; only files are unpacked"):
        unpack(path, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match="'link' is a link or a device"):
        unpack(path, tmp_path / "set")


def test_a_bomb_is_stopped_while_it_grows(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "s.zip", {"zeros": bytes(30_000_000)})
    assert bomb.stat().st_size * unpack_module.MAX_GROWTH < 30_000_000
    with pytest.raises(
        ArchiveError, match=r"s.zip: expected at most 200 times the archive's own size.*made to fill the disk"
    ):
        unpack(bomb, tmp_path / "data" / "set")
    assert not list((tmp_path / "data").iterdir())


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "MAX_FILES", 5)
    archive = tar(tmp_path / "s.tar", {f"{n}": b"" for n in range(6)})
    with pytest.raises(ArchiveError, match="expected at most 5 files and folders, there are more"):
        unpack(archive, tmp_path / "set")


def test_folders_count_too_those_of_a_long_name_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_module, "MAX_FILES", 5)
    assert there(unpack(tar(tmp_path / "ok.tar", {"a/b/c/d/e": b""}), tmp_path / "ok")) == ["a/b/c/d/e"]
    for name, files in (("deep", {"a/b/c/d/e/f": b""}), ("wide", {f"{n}/": b"" for n in range(6)})):
        archive = zipped(tmp_path / f"{name}.zip", files)
        with pytest.raises(ArchiveError, match="expected at most 5 files and folders, there are more"):
            unpack(archive, tmp_path / name)


@pytest.mark.parametrize(
    "names",
    [("a", "a/b"), ("a/b", "a"), ("a/", "a"), ("a", "a/"), ("a/", "A"), ("A", "a/b/c")],
    ids=" then ".join,
)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_name_is_a_file_or_a_folder(tmp_path: Path, names: tuple[str, str], kind: str) -> None:
    if kind == "zip":
        archive = zipped(tmp_path / "s.zip", dict.fromkeys(names, b""))
    else:
        archive = tmp_path / "s.tar"
        with tarfile.open(archive, "w") as opened:
            for name in names:
                info = tarfile.TarInfo(name.rstrip("/"))
                info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                opened.addfile(info, io.BytesIO())
    told = f"{archive.name}: expected each name to be a file or a folder, {names[1].rstrip('/')!r} makes one both"
    with pytest.raises(ArchiveError, match=re.escape(told)):
        unpack(archive, tmp_path / "data" / "set")
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize("name", ["n" * 300, "n" * 300 + "/a"])
def test_a_name_that_the_system_cannot_have_is_told(tmp_path: Path, name: str) -> None:
    archive = tar(tmp_path / "s.tar", {"ok": b"1", name: b"2"})
    with pytest.raises(
        ArchiveError, match=r"s.tar: a file cannot be called so here \(.*'n{100}'\); unpack it by"
    ):
        unpack(archive, tmp_path / "data" / "set")
    assert not list((tmp_path / "data").iterdir())


def test_a_full_disk_is_no_fault_of_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a.nii")

    monkeypatch.setattr(unpack_module, "_copy", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        unpack(tar(tmp_path / "s.tar", FILES), tmp_path / "data" / "set")
    assert caught.value.errno == errno.ENOSPC
    assert not list((tmp_path / "data").iterdir())


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "s.tar", {"a.txt": b"1", "A.TXT": b"2"})
    with pytest.raises(ArchiveError, match=r"'A.TXT' is there twice"):
        unpack(archive, tmp_path / "set")


def test_damage_is_told(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "s.zip", {"a": bytes(range(256)) * 100}).read_bytes()
    broken = bytearray(whole)
    broken[60] ^= 255
    (tmp_path / "b.zip").write_bytes(broken)
    with pytest.raises(ArchiveError, match=r"b.zip: the archive is damaged \(.*\); fetch it again"):
        unpack(tmp_path / "b.zip", tmp_path / "set")
    gz = tar(tmp_path / "s.tar.gz", {"a": bytes(range(256)) * 1000}, "w:gz").read_bytes()
    (tmp_path / "c.tar.gz").write_bytes(gz[: len(gz) // 2])
    with pytest.raises(ArchiveError, match="the archive is damaged"):
        unpack(tmp_path / "c.tar.gz", tmp_path / "set")
    (tmp_path / "d.tar").write_text("<html>not found</html>")
    with pytest.raises(ArchiveError, match=r"d.tar: expected a tar or zip archive, got something else"):
        unpack(tmp_path / "d.tar", tmp_path / "set")
    assert not (tmp_path / "set").exists()


NOISE = np.random.default_rng(0).bytes(200_000)


@pytest.mark.parametrize("mode", ["gz", "xz", "bz2", "zip"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, -6], ids=["begin", "middle", "late", "checksum"])
def test_one_wrong_byte_is_noticed(tmp_path: Path, mode: str, place: float) -> None:
    files = {"set/a.raw": NOISE, "set/b.raw": NOISE[::-1]}
    if mode == "zip":
        archive = zipped(tmp_path / "s.zip", files)
    else:
        archive = tar(tmp_path / f"s.tar.{mode}", files, f"w:{mode}")
    unpack(archive, tmp_path / "whole")
    content = bytearray(archive.read_bytes())
    content[int(place * len(content)) if place > 0 else int(place)] ^= 1
    archive.write_bytes(content)
    with pytest.raises(
        ArchiveError, match=r"s\.(zip|tar\..*): (the archive is damaged|expected a tar or zip)"
    ):
        unpack(archive, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_wrong_byte_in_the_second_header_of_a_plain_tar_is_not_its_end(tmp_path: Path) -> None:
    archive = tar(tmp_path / "s.tar", {"a": b"1" * 512, "b": b"2" * 512})
    content = bytearray(archive.read_bytes())
    content[1024 + 3] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"the archive is damaged \(a member's header: bad checksum\)"):
        unpack(archive, tmp_path / "set")
    archive.write_bytes(content[: 1024 + 100])
    with pytest.raises(ArchiveError, match=r"the archive is damaged \(a member's header: truncated header\)"):
        unpack(archive, tmp_path / "set")


def test_what_grows_behind_the_last_file_is_stopped(tmp_path: Path) -> None:
    plain = tar(tmp_path / "s.tar", {"a": b"1"}).read_bytes()
    archive = tmp_path / "s.tar.bz2"
    archive.write_bytes(bz2.compress(plain + bytes(20_000_000)))
    with pytest.raises(ArchiveError, match="expected the end after the last file, there is far more"):
        unpack(archive, tmp_path / "set")
    archive.write_bytes(bz2.compress(plain + bytes(100_000)))  # padding of a tape
    assert there(unpack(archive, tmp_path / "set")) == ["a"]


def test_nothing_in_it_and_something_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="expected files, the archive is empty"):
        unpack(zipped(tmp_path / "e.zip", {}), tmp_path / "set")
    (tmp_path / "set").mkdir()
    with pytest.raises(ConfigError, match="set exists; nothing is overwritten: move it away"):
        unpack(tar(tmp_path / "s.tar", FILES), tmp_path / "set")
