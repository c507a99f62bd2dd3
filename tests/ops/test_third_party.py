"""An operator of another package: installed with an entry point, or named by its class path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("third_party.py")

EXAMINE = """
from shop_of_kernels import ZeroMeanConv
from medconv.ops import check_conv
report = check_conv(ZeroMeanConv, dims=(2, 3), backend=None)
assert not report.refused
assert any(law.startswith("At its neutral setting") for law in report.held)
"""

BY_CLASS_PATH = """
import sys
from medconv.errors import ConfigError
from medconv.models import build_network
spec = {"class_path": "UNet", "init_args": {
    "spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": [2, 4],
    "conv": ["StandardConv", {"class_path": "shop_of_kernels.ZeroMeanConv", "init_args": {"share": 0.5}}]}}
try:
    build_network(spec)
except ConfigError as error:
    assert "neither medconv's nor a plug-in's" in str(error), error
    assert "shop_of_kernels" not in sys.modules, "imported before it was trusted"
else:
    raise AssertionError("a foreign class was built without being named as a plug-in")
net = build_network(spec, allow=["shop_of_kernels"])
assert net.encoder.blocks[1].units[0].conv.share == 0.5
"""

BY_ENTRY_POINT = """
from medconv.cli.main import main
from medconv.ops import conv_catalogue
assert conv_catalogue()["ZeroMeanConv"].__module__ == "shop_of_kernels"
assert main(["list", "ops"]) == 0
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as pip leaves it behind: the module, and what the package announces."""
    (tmp_path / "shop_of_kernels.py").write_text(SOURCE.read_text())
    info = tmp_path / "shop_of_kernels-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-of-kernels\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[medconv.convs]\nzero-mean = shop_of_kernels:ZeroMeanConv\n")
    return tmp_path


def run(site: Path, code: str) -> str:
    # a process of its own: a class that is once imported stays in the catalogue
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def unannounced(site: Path) -> Path:
    """The same folder without an entry point."""
    (site / "shop_of_kernels-1.0.dist-info" / "entry_points.txt").write_text("")
    return site


@pytest.mark.slow
def test_it_is_found_by_class_path(unannounced: Path) -> None:
    run(unannounced, BY_CLASS_PATH)


@pytest.mark.slow
def test_it_passes_the_examination(unannounced: Path) -> None:
    run(unannounced, EXAMINE)


def test_it_is_found_by_its_entry_point_and_listed(site: Path) -> None:
    out = run(site, BY_ENTRY_POINT)
    (line,) = [line for line in out.splitlines() if line.startswith("ZeroMeanConv")]
    assert "A convolution whose kernels sum to nearly zero, so that flat regions nearly vanish." in line
    assert line.endswith("this file")
