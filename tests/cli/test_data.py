"""Cards that are whole, and datasets fetched from a server on the loopback address."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Site, serve

from medconv.cli.cards import all_cards, cards_folder, find_card, read_card
from medconv.cli.data import Transfer
from medconv.cli.main import main
from medconv.errors import ConfigError, UnknownNameError
from medconv.io.checksum import check_checksum
from medconv.planning import kind_of_channel

ROOT = Path(__file__).parents[2]


@pytest.fixture
def archive(tiny_dataset: Path) -> bytes:
    """The tiny dataset as it would be published."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as opened:
        opened.add(tiny_dataset, "Task04_Hippocampus")
    return stream.getvalue()


@pytest.fixture
def site(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("medconv.io.download.time.sleep", lambda _: None)
    with serve(Site(archive)) as running:
        yield running


def get(site: Site, folder: Path, *more: str, name: str = "msd_hippocampus") -> int:
    return main(["data", "get", name, str(folder), "--address", site.url, *more])


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


# ---------------------------------------------------------------- cards


def test_there_is_a_card_for_every_promised_dataset() -> None:
    cards = all_cards()
    decathlon = {card.folder for name, card in cards.items() if name.startswith("msd_")}
    assert {name[:6] for name in decathlon} == {f"Task{n:02d}" for n in range(1, 11)}
    assert {"dsb2018", "isbi2012"} <= set(cards)
    assert len(cards) == 12


@pytest.mark.parametrize("name", all_cards())
def test_a_card_says_all_there_is_to_say(name: str) -> None:
    card = find_card(name)
    assert card.address.startswith("https://")
    assert card.folder not in ("", ".", "..")
    assert not set("/\\") & set(card.folder)
    assert 0 in card.labels
    assert card.cases["training"] > 0
    assert card.checksum is None or check_checksum(card.checksum) == card.checksum
    assert ("none is published" in card.checksum_source) == (card.checksum is None)
    assert all(kind_of_channel(channel).is_known for channel in card.channels)


def test_git_and_the_package_let_every_card_in() -> None:
    packaged = (ROOT / "pyproject.toml").read_text()
    paths = sorted(cards_folder().glob("*.yaml"))
    assert all(f'"data/{path.name}" = "medconv/cards/{path.name}"' in packaged for path in paths)
    ignored = ["git", "check-ignore", "--no-index", *(str(p) for p in paths), "data/demo/dataset.json"]
    out = subprocess.run(ignored, cwd=ROOT, capture_output=True, text=True)
    if out.returncode == 128:
        pytest.skip("not a git checkout")
    assert out.stdout.split() == ["data/demo/dataset.json"]


def test_cards_are_found_in_a_checkout_and_in_an_installation(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"expected dataset cards in .*cards, found none; reinstall medconv"
    ):
        cards_folder(tmp_path / "medconv")
    (tmp_path / "medconv" / "cards").mkdir(parents=True)
    assert cards_folder(tmp_path / "medconv") == tmp_path / "medconv" / "cards"


def test_a_card_with_other_keys_is_refused(tmp_path: Path) -> None:
    text = (cards_folder() / "msd_spleen.yaml").read_text()
    (tmp_path / "x.yaml").write_text(text.replace("licence:", "license:"))
    with pytest.raises(ConfigError, match="missing or unknown: licence, license"):
        read_card(tmp_path / "x.yaml")
    with pytest.raises(UnknownNameError, match="no dataset 'msd_splen'; did you mean 'msd_spleen'"):
        find_card("msd_splen")


def test_lists_are_for_eyes_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 12
    assert any(
        re.match(r"msd_hippocampus +28.4 MB +CC-BY-SA 4.0 +anterior and posterior", row) for row in rows
    )
    assert any(re.match(r"isbi2012 +size not published +none stated +cell membranes", row) for row in rows)
    assert main(["data", "list", "dsb2018", "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert (card["licence"], card["checksum"]) == ("CC0 1.0", None)
    assert main(["data", "list", "dsb2018"]) == 0
    assert "checksum_source  none is published" in capsys.readouterr().out


# ---------------------------------------------------------------- get


def test_a_dataset_is_fetched_verified_unpacked_and_usable(
    site: Site, archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.break_after = [len(archive) // 2]
    assert get(site, tmp_path / "data", "--checksum", md5(archive)) == 0
    seen = capsys.readouterr()
    assert "licence    CC-BY-SA 4.0" in seen.out
    assert f"verified   {md5(archive)}" in seen.out
    assert f"got        sha256:{hashlib.sha256(archive).hexdigest()}" in seen.out
    assert seen.err == ""
    target = tmp_path / "data" / "Task04_Hippocampus"
    assert [path.name for path in (tmp_path / "data").iterdir()] == [target.name]
    assert len(site.asked) == 2
    assert f"next       medconv check {target}" in seen.out
    assert main(["check", str(target)]) == 0


def test_what_is_not_the_published_file_is_deleted_and_nothing_unpacked(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert get(site, tmp_path / "data") == 1
    told = capsys.readouterr().err
    assert "expected the checksum md5:9d24dba78a72977dbd1d2e110310f31b, got md5:" in told
    assert "it was deleted, nothing was unpacked" in told
    assert not list((tmp_path / "data").iterdir())


def test_where_no_checksum_is_published_that_is_said(
    site: Site, archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert get(site, tmp_path, name="isbi2012") == 0
    shown = capsys.readouterr().out
    assert "verified   nothing: no checksum is published for this archive" in shown
    assert f"sha256:{hashlib.sha256(archive).hexdigest()}" in shown
    assert "medconv does not read this layout, convert it first" in shown
    assert "next " not in shown


def test_an_archive_that_leads_out_is_refused(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as opened:
        info = tarfile.TarInfo("../../evil.txt")
        opened.addfile(info, io.BytesIO())
    site.content = stream.getvalue()
    assert get(site, tmp_path / "a" / "b", "--checksum", md5(site.content)) == 1
    assert "'../../evil.txt' would be written outside the folder" in capsys.readouterr().err
    assert not (tmp_path / "evil.txt").exists()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["set.tar"]


def test_an_interrupted_transfer_is_continued_by_the_same_command(
    site: Site, archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.break_after = [5000, 0, 0, 0, 0, 0]
    assert get(site, tmp_path, "--checksum", md5(archive)) == 1
    assert "5,000 bytes are kept, the same command continues there" in capsys.readouterr().err
    assert get(site, tmp_path, "--checksum", md5(archive)) == 0
    assert site.asked[-1]["Range"] == "bytes=5000-"


def test_an_archive_that_lies_there_is_used_and_kept(
    site: Site, archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set.tar").write_bytes(archive)
    assert get(site, tmp_path, "--checksum", md5(archive)) == 0
    assert not site.asked
    assert "set.tar is there already and is used" in capsys.readouterr().out
    assert (tmp_path / "set.tar").read_bytes() == archive
    shutil.rmtree(tmp_path / "Task04_Hippocampus")
    (tmp_path / "set.tar").write_bytes(archive[:-100])
    assert get(site, tmp_path, "--checksum", md5(archive)) == 1
    assert "to fetch it anew" in capsys.readouterr().err
    assert (tmp_path / "set.tar").exists()


def test_an_archive_is_kept_where_asked(site: Site, archive: bytes, tmp_path: Path) -> None:
    assert get(site, tmp_path, "--checksum", md5(archive), "--keep-archive") == 0
    assert (tmp_path / "set.tar").read_bytes() == archive


def test_nothing_is_overwritten_and_nothing_is_asked_for_in_vain(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "Task04_Hippocampus" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert get(site, tmp_path) == 2
    assert "exists; nothing is overwritten: move it away, or name another DEST" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert get(site, mine) == 2
    assert "expected a folder to write into" in capsys.readouterr().err
    assert not site.asked


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gett"], "expected list or get, got 'gett'; did you mean 'get'"),
        (["get"], "name"),
        (
            ["get", "msd_liver", "--chcksum", "x"],
            "no option or argument '--chcksum'; did you mean '--checksum'",
        ),
        (["get", "msd_livr"], "no dataset 'msd_livr'; did you mean 'msd_liver'"),
        (["get", "msd_liver", "--checksum", "abc"], "expected a checksum like sha256:0a1b…"),
        (["get", "msd_liver", "--address", "ftp://x/y.tar"], "expected an address that begins with https://"),
        (["list", "nothing"], "no dataset 'nothing'"),
    ],
)
def test_what_cannot_be_got(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tar"))


@pytest.mark.parametrize(
    "end", ["", "/", "/..", "/.", "/a/../", "/?name=set.tar", "/%2e%2e", "/a%2F..", "/a%5Cb.tar", "/a%0Ab"]
)
def test_an_address_ends_in_a_name(end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"https://localhost:9{end}"
    assert main(["data", "get", "msd_liver", str(tmp_path / "data"), "--address", address]) == 2
    told = "expected an address that ends in the name of an archive, such as https://host/set.tar"
    assert f"{told}, got {address!r}" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_an_address_that_cannot_be_split_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "get", "msd_liver", str(tmp_path), "--address", "https://[::1/set.tar"]) == 2
    assert "expected an address that ends in the name of an archive" in capsys.readouterr().err


def test_what_follows_a_question_mark_is_for_the_server(site: Site, archive: bytes, tmp_path: Path) -> None:
    words = ["data", "get", "msd_hippocampus", str(tmp_path), "--address", f"{site.url}?to=/a/b&x=..#top"]
    assert main([*words, "--checksum", md5(archive), "--keep-archive"]) == 0
    assert (tmp_path / "set.tar").read_bytes() == archive


def test_a_folder_where_the_archive_would_be_is_no_archive(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set.tar").mkdir()
    assert get(site, tmp_path) == 2
    assert "set.tar is no file, the archive would be written there; move it away" in capsys.readouterr().err
    assert not site.asked


def test_help_and_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    assert "medconv data get NAME [DEST]" in capsys.readouterr().out
    assert main(["data"]) == 2


def test_progress_is_one_line_on_a_terminal_and_nothing_in_a_file() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream in (Terminal(), io.StringIO()):
        progress = Transfer(stream)
        progress(0, 4_000_000)
        progress(4_000_000, 4_000_000)
        progress.clear()
        shown = stream.getvalue()
        assert ("4.0 of 4.0 MB, 100%" in shown) == stream.isatty()
        assert "\n" not in shown
