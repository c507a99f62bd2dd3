from __future__ import annotations

import importlib.util
from pathlib import Path

import onnx
import pytest
import torch

from medconv.errors import ConfigError
from medconv.export import onnx_file
from medconv.export.onnx_file import OPSET, read_onnx, require_onnx, write_onnx
from medconv.export.program import build_program
from medconv.models import UNet, fold


def test_an_absent_extra_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    require_onnx()
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    monkeypatch.setattr(onnx_file, "onnxruntime", None)
    with pytest.raises(ConfigError) as error:
        require_onnx()
    assert str(error.value) == (
        "ONNX needs the package(s) onnxscript, onnxruntime; install them with: pip install 'medconv[export]'"
    )


@pytest.mark.slow
def test_onnx_runtime_answers_as_the_network_for_any_batch_and_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = fold(UNet(2, 2, 3, channels=(4, 8))).eval()
    program, _ = build_program(net, (8, 8))
    write_onnx(program, tmp_path / "model.onnx", {"medconv_plan": "spacing: 1"})
    run = read_onnx(tmp_path / "model.onnx")
    for shape in ((1, 2, 8, 8), (3, 2, 4, 12)):
        x = torch.randn(shape)
        torch.testing.assert_close(run(x), net(x), rtol=1e-4, atol=1e-5)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    assert model.opset_import[0].version == OPSET
    assert {entry.key: entry.value for entry in model.metadata_props}["medconv_plan"] == "spacing: 1"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_what_onnx_cannot_express_is_named(tmp_path: Path) -> None:
    class Eigen(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigh(x @ x.mT)[0]

    program = torch.export.export(Eigen(), (torch.randn(1, 2, 4, 4),))
    with pytest.raises(
        ConfigError, match=r"ONNX \(opset 20\) cannot express .*_linalg_eigh.* --to torch, bundle"
    ):
        write_onnx(program, tmp_path / "model.onnx", {})
    assert not list(tmp_path.iterdir())
