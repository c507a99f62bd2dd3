from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.export.culprit import name_culprit
from medconv.export.program import Freedom, build_program, read_program, write_program
from medconv.models import SegmentationModel, build_network, fold


def network(conv: str = "StandardConv", dims: int = 2, **options: Any) -> SegmentationModel:
    torch.manual_seed(0)
    settings = {"spatial_dims": dims, "in_channels": 1, "num_classes": 3, "channels": [4, 8], "conv": conv}
    return fold(build_network({"class_path": "UNet", "init_args": settings | options})).eval()


class Undecided(nn.Module):
    """Looks at its input before it decides, which no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


class WithUndecided(SegmentationModel):
    def __init__(self) -> None:
        super().__init__(2, 1, 2, (1, 1))
        self.first = nn.Conv2d(1, 2, 1)
        self.inner = nn.Sequential(nn.ReLU(), Undecided())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.first(x))


class WithUndecidedAtTheTop(SegmentationModel):
    def __init__(self) -> None:
        super().__init__(2, 1, 1, (1, 1))
        self.head = Undecided()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


@pytest.mark.slow
def test_a_program_takes_any_batch_and_size_and_answers_exactly(tmp_path: Path) -> None:
    net = network()
    program, freedom = build_program(net, (9, 8))
    # 9 is no multiple of the divisor: the program is made without padding
    assert freedom == Freedom(True, (2, 2), (10, 8))
    assert str(freedom) == "any batch, sizes in multiples of 2×2 from 4×4"
    assert freedom.shapes == [(1, 10, 8), (2, 4, 4)]
    write_program(program, tmp_path / "model.pt2", {"note.txt": "hello"})
    run = read_program(tmp_path / "model.pt2")
    for shape in ((1, 1, 10, 8), (3, 1, 4, 4), (2, 1, 16, 30)):
        x = torch.randn(shape)
        torch.testing.assert_close(run(x), net(x))
    extra = {"note.txt": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert extra["note.txt"] == "hello"


@pytest.mark.slow
def test_a_kernel_for_each_image_takes_one_patch_at_a_time() -> None:
    net = network("DynamicConv", dims=3)
    program, freedom = build_program(net, (8, 8, 6))
    assert freedom == Freedom(False, (2, 2, 2), (8, 8, 6))
    assert str(freedom) == "one patch at a time, sizes in multiples of 2×2×2 from 4×4×4"
    assert freedom.shapes == [(1, 8, 8, 6), (1, 4, 4, 4)]
    x = torch.randn(1, 1, 12, 6, 4)
    torch.testing.assert_close(program.module()(x), net(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MonaiDynUNet", "MonaiSegResNet"])
def test_networks_of_monai_are_exported_too(name: str) -> None:
    torch.manual_seed(0)
    options = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2}
    options |= {"channels": [4, 8, 16]} if name == "MonaiDynUNet" else {}
    net = fold(build_network({"class_path": name, "init_args": options})).eval()
    program, freedom = build_program(net, (32, 32))
    for batch, *size in freedom.shapes:
        x = torch.randn(batch, 1, *size)
        torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_cannot_be_traced_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"cannot trace this network: Undecided at inner\.1 \(.*safetensors"
    ):
        build_program(WithUndecided().eval(), (4, 4))
    assert name_culprit(network(), torch.zeros(1, 1, 4, 4)).startswith("no single layer")
    # a layer of the network itself comes before the network too
    top = name_culprit(WithUndecidedAtTheTop().eval(), torch.zeros(1, 1, 4, 4))
    assert top.startswith("Undecided at head (")


def test_a_fixed_program_says_its_size() -> None:
    freedom = Freedom(True, None, (8, 6))
    assert str(freedom) == "any batch, 8×6 voxels"
    assert freedom.shapes == [(1, 8, 6), (2, 8, 6)]
    assert Freedom(False, None, (8, 6)).shapes == [(1, 8, 6)]
