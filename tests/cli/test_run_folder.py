from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from medconv.cli.run_folder import choose_run_folder, is_first_process, keep_log
from medconv.errors import CheckpointError, ConfigError


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    for variable in ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(variable, raising=False)
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


def test_two_runs_that_begin_together_have_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: choose_run_folder(tmp_path, "cv/a", "never").path, range(8)))
    assert sorted(run.name for run in runs) == ["a", *(f"a-{number}" for number in range(2, 9))]


def test_auto_passes_over_a_folder_whose_run_never_began(tmp_path):
    for name in ("a", "a-3"):
        started(tmp_path / name)
    (tmp_path / "a-2").mkdir()
    (tmp_path / "a-4").mkdir()
    assert choose_run_folder(tmp_path, "a", "auto").path == tmp_path / "a-3"


@pytest.mark.parametrize(
    ("variables", "is_first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0", "SLURM_PROCID": "1"}, True),
        ({"RANK": "0", "LOCAL_RANK": "1"}, False),  # one process of torchrun, which launched more
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, True),
        ({"SLURM_PROCID": "3", "SLURM_LOCALID": "0"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),
    ],
)
def test_the_first_process_is_known_under_every_launcher(tmp_path, monkeypatch, variables, is_first):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == is_first
    choose_run_folder(tmp_path, "a", "never")
    assert (tmp_path / "a").exists() == is_first
