from __future__ import annotations

import pytest

from medconv.cli.run_folder import choose_run_folder, keep_log
from medconv.errors import CheckpointError, ConfigError


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("MEDCONV_RUN_FOLDER", "")


def started(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("")
    return folder


def test_a_new_run_takes_the_first_free_name(tmp_path):
    assert choose_run_folder(tmp_path, "a", "never").path == tmp_path / "a"
    started(tmp_path / "a")
    started(tmp_path / "a-2")
    assert choose_run_folder(tmp_path, "a", "never").path == tmp_path / "a-3"


def test_auto_goes_to_the_newest_run_and_says_when_there_is_nothing_to_continue(tmp_path):
    started(tmp_path / "a")
    started(tmp_path / "a-2")
    run = choose_run_folder(tmp_path, "a", "auto")
    assert run.path == tmp_path / "a-2"
    assert run.resume_from is None
    assert "starting fresh" in run.remarks[-1]


def test_a_process_that_was_launched_uses_the_folder_of_the_first(tmp_path, monkeypatch):
    first = choose_run_folder(tmp_path, "a", "never").path
    started(first)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_run_folder(tmp_path, "a", "never").path == first


def test_a_second_run_in_the_same_process_gets_its_own_folder(tmp_path):
    started(choose_run_folder(tmp_path, "a", "never").path)
    assert choose_run_folder(tmp_path, "a", "never").path == tmp_path / "a-2"


def test_a_missing_or_damaged_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        choose_run_folder(tmp_path, "a", str(tmp_path / "no.ckpt"))
    (tmp_path / "bad.ckpt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"bad\.ckpt"):
        choose_run_folder(tmp_path, "a", str(tmp_path / "bad.ckpt"))


def test_the_log_of_an_earlier_part_is_kept(tmp_path):
    for part in ("first", "second"):
        (tmp_path / "metrics.csv").write_text(part)
        keep_log(tmp_path)
    assert [(tmp_path / f"metrics_{n}.csv").read_text() for n in (1, 2)] == ["first", "second"]
    assert not (tmp_path / "metrics.csv").exists()
