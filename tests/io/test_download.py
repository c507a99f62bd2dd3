"""Fetching over connections that break, from servers that change their mind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Site, serve

from medconv.errors import ConfigError, DownloadError
from medconv.io.checksum import check_checksum, checksum_of, require_checksum
from medconv.io.download import Patience, fetch

CONTENT = bytes(range(256)) * 4000
QUICK = Patience(attempts=3, pause_s=0.001, timeout_s=5)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(CONTENT)) as running:
        yield running


def get(site: Site, target: Path, **more: object) -> Path:
    return fetch(site.url, target, patience=QUICK, **more)  # type: ignore[arg-type]


def test_a_file_comes_whole_with_progress_and_leaves_nothing_else(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = get(site, tmp_path / "deep" / "set.tar", watch=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in target.parent.iterdir()] == ["set.tar"]


def test_a_broken_connection_is_continued_where_it_broke(site: Site, tmp_path: Path) -> None:
    site.break_after = [300_000, 200_000, 0]
    assert get(site, tmp_path / "set.tar").read_bytes() == CONTENT
    assert [request.get("Range") for request in site.asked] == [
        None,
        "bytes=300000-",
        "bytes=500000-",
        "bytes=500000-",
    ]
    assert site.asked[1]["If-Range"] == '"one"'


def test_a_call_that_gave_up_is_continued_by_the_next(site: Site, tmp_path: Path) -> None:
    site.break_after = [100_000, 0, 0, 0]
    with pytest.raises(
        DownloadError, match=r"the connection ended early; 100,000 bytes are kept, the same command contin"
    ):
        get(site, tmp_path / "set.tar")
    assert not (tmp_path / "set.tar").exists()
    assert get(site, tmp_path / "set.tar").read_bytes() == CONTENT
    assert site.asked[-1]["Range"] == "bytes=100000-"


def test_another_version_of_the_file_is_not_glued_to_the_old_one(site: Site, tmp_path: Path) -> None:
    site.break_after = [100_000, 0, 0, 0]
    with pytest.raises(DownloadError, match="kept"):
        get(site, tmp_path / "set.tar")
    site.content, site.version = CONTENT[::-1], '"two"'
    assert get(site, tmp_path / "set.tar").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("version", [None, 'W/"weak"'])
def test_without_a_word_for_the_version_it_begins_anew(
    site: Site, tmp_path: Path, version: str | None
) -> None:
    site.version, site.break_after = version, [100_000]
    assert get(site, tmp_path / "set.tar").read_bytes() == CONTENT
    assert all("Range" not in request for request in site.asked)


def test_a_server_without_ranges_sends_all_again(site: Site, tmp_path: Path) -> None:
    site.ranges, site.break_after = False, [100_000]
    assert get(site, tmp_path / "set.tar").read_bytes() == CONTENT


def test_a_server_that_says_no_length_is_believed(site: Site, tmp_path: Path) -> None:
    site.say_length = False
    assert get(site, tmp_path / "set.tar").read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_thrown_away(site: Site, tmp_path: Path) -> None:
    site.break_after = [len(CONTENT) - 10, 0, 0, 0]
    with pytest.raises(DownloadError, match="kept"):
        get(site, tmp_path / "set.tar")
    site.content = CONTENT[:1000]
    assert get(site, tmp_path / "set.tar").read_bytes() == CONTENT[:1000]


def test_bytes_from_another_place_are_refused(site: Site, tmp_path: Path) -> None:
    site.break_after, site.lie_about_start = [100_000], 7
    with pytest.raises(DownloadError, match="expected the bytes from 100000 on, the server sends 100007-"):
        get(site, tmp_path / "set.tar")


def test_a_busy_server_is_asked_again_a_missing_file_is_not(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 500]
    assert get(site, tmp_path / "set.tar").read_bytes() == CONTENT
    site.statuses = [404]
    with pytest.raises(DownloadError, match="the server answers 404 Not Found"):
        get(site, tmp_path / "other.tar")
    assert not site.statuses


def test_nobody_at_the_address(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"refused.*0 bytes are kept.*tried 3 times"):
        fetch("http://127.0.0.1:9/set.tar", tmp_path / "set.tar", patience=QUICK)


def test_a_full_disk_is_noticed_before_it_is_full(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("medconv.io.download.shutil.disk_usage", lambda _: Usage)
    with pytest.raises(DownloadError, match=r"expected room for 1,024,000 more bytes in .*, 1,000 are free"):
        get(site, tmp_path / "set.tar")


def test_nothing_is_overwritten_and_no_other_scheme_is_opened(site: Site, tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_text("mine")
    with pytest.raises(ConfigError, match=r"set.tar exists; nothing is overwritten"):
        get(site, tmp_path / "set.tar")
    assert not site.asked
    with pytest.raises(ConfigError, match="begins with https:// or http://, got 'file:///etc/passwd'"):
        fetch("file:///etc/passwd", tmp_path / "x")


# ---------------------------------------------------------------- checksums


def test_checksums_are_those_of_the_standard_library(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    for name in ("md5", "sha256"):
        expected = f"{name}:{hashlib.new(name, CONTENT).hexdigest()}"
        assert checksum_of(path, name) == check_checksum(expected.upper()) == expected
        require_checksum(path, expected)
    with pytest.raises(
        DownloadError, match=r"a: expected the checksum md5:0{32}, got md5:.*damaged or not the one"
    ):
        require_checksum(path, f"md5:{'0' * 32}")


@pytest.mark.parametrize("text", ["", "abc", "md5:12", "crc32:12345678", "sha256:" + "g" * 64])
def test_what_is_no_checksum(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a checksum like sha256:0a1b…, of md5 \(32 digits\)"):
        check_checksum(text)
