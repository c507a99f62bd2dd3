from __future__ import annotations

import re
import subprocess
import sys

import pytest

from medconv.cli.fit import main, short_help
from medconv.cli.main import main as dispatch


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_help_comes_without_torch(command, capsys):
    code = (
        f"import sys; from medconv.cli.main import main; code = main([{command!r}, '--help']); "
        "assert 'torch' not in sys.modules and 'lightning' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"usage: medconv {command}" in done.stdout


def test_no_options_show_the_help_as_an_error(capsys):
    assert main(["fit"]) == 2
    assert "usage: medconv fit" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_every_option_of_the_short_help_is_an_option(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help-all"])
    full = capsys.readouterr().out
    data_and_network = (
        "--data.init_args",
        "--model.network.init_args",
        "--help-all",
        "--plugin",
        "--config",
        "--print_config",
    )
    named = set(re.findall(r"--[a-z_.]+[a-z_]", short_help(command)))
    for option in named:
        assert option.startswith(data_and_network) or option in full, option


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "unet_sim"], "did you mean 'unet_sym'"),
        (
            ["--config", "unet_sym", "--model.network.init_args.conv", "SymetricConv"],
            "did you mean 'SymmetricConv'",
        ),
        (["--config", "unet_sym", "--model.network.init_args.conv.basi", "ring"], "did you mean 'basis'"),
        (["--config", "unet_sym", "--model.loss", "FocalLos"], "model.loss: Expected a dot import path"),
        (["--config", "unet_sym", "--model.loss", "FocalLos"], "did you mean 'FocalLoss'"),
        (["--config", "unet_sym", "--model.ema_decay", "often"], "model.ema_decay"),
        (["--config", "unet_sym", "--model.learning_rate", "1"], "learning_rate"),
        (["--config", "unet_sym", "--trainer.max_epoch", "1"], "max_epoch"),
        (["--config", "unet_sym", "--resume", "nowhere.ckpt"], "there is no file nowhere.ckpt"),
        (["--config", "unet_sym", "--data.init_args.patch_sizes", "[8,8,8]"], "did you mean 'patch_size'"),
    ],
    ids=[
        "config",
        "operator",
        "operator option",
        "loss",
        "nearest loss",
        "decay",
        "option",
        "trainer option",
        "checkpoint",
        "data option",
    ],
)
def test_a_mistake_ends_with_exit_code_2_and_the_remedy(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["fit", *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not list(tmp_path.glob("runs/*/*.ckpt"))


_NO_DATASET = (
    "expected a dataset: a folder with a dataset.json (Medical Segmentation Decathlon or nnU-Net), one with"
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LightningCLI's, about jsonargparse
@pytest.mark.filterwarnings("ignore:.*JSONARGPARSE_DEPRECATION_WARNINGS")
@pytest.mark.parametrize(
    ("config", "root", "message"),
    [
        ("hippocampus_plain", "nowhere", f"no file or folder nowhere; {_NO_DATASET}"),
        ("hippocampus_plain", "nowhere.csv", f"no file or folder nowhere.csv; {_NO_DATASET}"),
        ("nuclei_plain", "empty", f"empty: {_NO_DATASET}"),
        ("unet_plain", "full", "full: holds something other than a demo dataset, which is not overwritten"),
    ],
)
def test_a_root_that_is_no_dataset_is_a_wrong_argument(config, root, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("yours")
    assert dispatch(["fit", "--config", config, "--data.init_args.root", root]) == 2
    told = capsys.readouterr().err
    assert f"medconv fit: {message}" in told
    assert "Traceback" not in told
    assert not (tmp_path / "runs").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LightningCLI's, about jsonargparse
@pytest.mark.filterwarnings("ignore:.*JSONARGPARSE_DEPRECATION_WARNINGS")
def test_a_refused_trainer_leaves_no_folder_behind(tiny_dataset, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "--data.init_args.root",
        str(tiny_dataset),
        "--data.init_args.cache_dir",
        str(tmp_path / "cache"),
    ]
    words += ["--data.init_args.num_folds", "2", "--trainer.max_time", "90"]
    assert dispatch(["fit", "--config", "hippocampus_plain", *words]) == 2
    assert "Expected a string in the format DD:HH:MM:SS" in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*"))
