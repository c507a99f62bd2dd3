"""The wheel carries what the package needs away from its repository, and works where nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(pip, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)
    return next(folder.glob("medconv-*.whl"))


def test_the_wheel_carries_configs_cards_types_and_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for here, there in (("configs", "medconv/configs/"), ("data", "medconv/cards/")):
        found = (ROOT / here).rglob("*.yaml") if here == "configs" else (ROOT / here).glob("*.yaml")
        shipped = {p.relative_to(ROOT / here).as_posix() for p in found}
        assert shipped == {n.removeprefix(there) for n in names if n.startswith(there)}
        assert shipped
    assert "medconv/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    foreign = [n for n in names if not n.startswith(("medconv/", "medconv-"))]
    assert not foreign


def test_every_module_travels(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "medconv").rglob("*.py")}
    assert modules <= names


def test_the_viewer_travels_with_its_licences(wheel: Path) -> None:
    folder = ROOT / "medconv/reporting"
    files = [*folder.glob("viewer.*"), *(folder / "vendor").glob("niivue*")]
    assert len(files) == 6
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize(
    ("command", "name"), [(["list", "configs"], "unet_sym"), (["data", "list"], "msd_hippocampus")]
)
def test_the_unpacked_wheel_finds_its_configs_and_cards(
    wheel: Path, tmp_path: Path, command: list[str], name: str
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    words = [sys.executable, "-m", "medconv", *command]
    out = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert name in out.stdout
