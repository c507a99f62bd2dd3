import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from medconv.io import atomic_path, read_labels, read_volume, write_labels, write_text
from medconv.io.atomic import atomic_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_target_appears_only_when_the_block_has_ended(tmp_path):
    target = tmp_path / "new folder" / "mask.nii.gz"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"whole")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".nii.gz")
        assert temporary.name.startswith(".")
    assert target.read_bytes() == b"whole"
    assert names(target.parent) == ["mask.nii.gz"]


def write_half(target, error):
    with atomic_path(target) as temporary:
        temporary.write_text("ha")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    target = tmp_path / "table.csv"
    write_text(target, "old")
    with pytest.raises(error, match="half way"):
        write_half(target, error("half way"))
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="tmp"), atomic_path(tmp_path / "x.csv"):
        pass


def test_a_folder_is_no_target(tmp_path):
    with pytest.raises(IsADirectoryError, match="expected a file name"), atomic_path(tmp_path):
        pass


def test_new_files_get_the_usual_permissions(tmp_path):
    usual = tmp_path / "usual"
    usual.write_text("")
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == usual.stat().st_mode


def test_killed_writer_leaves_the_old_file_whole(tmp_path):
    target = tmp_path / "mask.nii.gz"
    write_text(target, "old")
    code = (
        "import sys, time\nfrom medconv.io.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as t:\n"
        "    t.write_text('half'); print('now', flush=True); time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"now\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert target.read_text() == "old"
    assert all(name.startswith(".") for name in names(tmp_path) if name != "mask.nii.gz")


def test_full_disk_keeps_the_old_mask(tmp_path, tiny_nifti):
    image = tiny_nifti(array=np.random.default_rng(0).random((40, 40, 40)).astype(np.float32))
    volume = read_volume(image)
    target = tmp_path / "mask.nii"
    write_labels(target, np.zeros(volume.shape, np.uint8), volume)
    code = (
        "import resource, signal, sys\nimport numpy as np\nfrom medconv.io import read_volume, write_labels\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "volume = read_volume(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n    write_labels(sys.argv[2], np.ones(volume.shape, np.uint8), volume)\n"
        "except OSError as error:\n    print('refused')\n"
    )
    command = [sys.executable, "-c", code, str(image), str(target)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "refused\n"
    assert read_labels(target).data.max() == 0
    assert names(tmp_path) == ["mask.nii", "scan.nii.gz"]


def test_two_writers_of_one_target_do_not_meet(tmp_path):
    target = tmp_path / "x.csv"
    with atomic_path(target) as one:
        one.write_text("one")
        with atomic_path(target) as two:
            two.write_text("two")
        assert target.read_text() == "two"
    assert target.read_text() == "one"


def spoil(target):
    with atomic_folder(target) as temporary:
        temporary.mkdir()
        raise ZeroDivisionError


def test_a_folder_takes_the_place_of_another_one_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "a.zarr"
    for content in ("one", "two"):
        with atomic_folder(target) as temporary:
            temporary.mkdir()
            (temporary / "pixels").write_text(content)
        assert (target / "pixels").read_text() == content
    with pytest.raises(ZeroDivisionError):
        spoil(target)
    assert (target / "pixels").read_text() == "two"
    assert [path.name for path in target.parent.iterdir()] == ["a.zarr"]


def test_a_folder_never_takes_the_place_of_a_file(tmp_path):
    (tmp_path / "a.zarr").touch()
    with pytest.raises(NotADirectoryError, match="expected a folder to write to, got the file"):
        spoil(tmp_path / "a.zarr")


def test_a_name_that_is_no_utf_8_is_written_as_the_bytes_that_it_has(tmp_path):
    write_text(tmp_path / "t.csv", os.fsdecode(b"case\nM\xfcller\n"))
    assert (tmp_path / "t.csv").read_bytes() == b"case\nM\xfcller\n"
