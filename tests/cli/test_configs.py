from __future__ import annotations

from pathlib import Path

import pytest

from medconv.cli.configs import config_folder, find_config, first_comment, shipped_configs
from medconv.errors import ConfigError, UnknownNameError


def test_a_shipped_configuration_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("unet_sym") == config_folder() / "unet_sym.yaml"
    assert find_config("unet_sym.yaml") == find_config("configs/unet_sym.yaml") == find_config("unet_sym")


def test_a_file_of_the_user_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "unet_sym.yaml"
    own.write_text("model: {}\n")
    assert find_config("unet_sym.yaml") == Path("unet_sym.yaml")
    assert find_config(own) == own
    (tmp_path / "unet_plain").mkdir()
    assert find_config("unet_plain") == config_folder() / "unet_plain.yaml"


def test_a_misspelt_name_is_recognised() -> None:
    with pytest.raises(
        UnknownNameError, match=r"'unet_sim'; did you mean 'unet_sym'\? Shipped: .*unet_plain"
    ):
        find_config("unet_sim")


def test_an_absent_file_is_told() -> None:
    with pytest.raises(UnknownNameError, match=r"no file and no shipped configuration 'my/own\.yaml'"):
        find_config("my/own.yaml")


def test_folders_are_part_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    for name in ("unet.yaml", "trainer/cpu.yaml"):
        (tmp_path / name).touch()
    assert list(shipped_configs(tmp_path)) == ["trainer/cpu", "unet"]


def test_the_installed_folder_goes_before_the_checkout(tmp_path: Path) -> None:
    package = tmp_path / "medconv"
    package.mkdir()
    with pytest.raises(
        ConfigError, match=r"expected shipped configurations in .*configs, found none; reinstall"
    ):
        config_folder(package)
    (tmp_path / "configs").mkdir()
    with pytest.raises(ConfigError, match="reinstall"):  # somebody else's folder beside an installed package
        config_folder(package)
    (tmp_path / "pyproject.toml").touch()
    assert config_folder(package) == tmp_path / "configs"
    (package / "configs").mkdir()
    assert config_folder(package) == package / "configs"


def test_the_first_comment_is_what_a_configuration_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# Which is better?\n# more\nmodel: 1\n")
    assert first_comment(path) == "Which is better?"
    path.write_text("model: 1\n")
    assert first_comment(path) == ""


def test_every_shipped_configuration_says_what_it_answers() -> None:
    silent = [name for name, path in shipped_configs().items() if not first_comment(path)]
    assert not silent
