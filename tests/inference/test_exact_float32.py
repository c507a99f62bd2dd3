"""TF32 is off while a network computes in stated float32, and afterwards PyTorch is set as it was."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor, nn

from medconv.inference import Predictor
from medconv.inference import engine as engine_module
from medconv.inference.device import mixed_precision
from medconv.inference.exact_float32 import exact_float32
from medconv.planning import Plan

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
EXACT = ("ieee", "ieee")


def now() -> tuple[str, str]:
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision


@pytest.fixture(params=[("tf32", "none"), ("tf32", "tf32"), ("ieee", "ieee"), ("none", "none")], ids=str)
def before(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    kept = now()
    torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = request.param
    yield request.param
    torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = kept


def test_the_setting_is_restored_after_an_error_too(before: tuple[str, str]) -> None:
    with exact_float32():
        assert now() == EXACT
        with exact_float32():
            assert now() == EXACT
        assert now() == EXACT
    assert now() == before
    with pytest.raises(ZeroDivisionError), exact_float32():
        _ = 1 / 0
    assert now() == before


def test_the_last_thread_that_leaves_restores(before: tuple[str, str]) -> None:
    both_inside, one_left = Barrier(2), Barrier(2)

    def leave_first() -> None:
        with exact_float32():
            both_inside.wait(10)
        one_left.wait(10)

    def leave_last() -> tuple[str, str]:
        with exact_float32():
            both_inside.wait(10)
            one_left.wait(10)
            return now()

    with ThreadPoolExecutor(2) as pool:
        first, last = pool.submit(leave_first), pool.submit(leave_last)
        first.result()
        assert last.result() == EXACT
    assert now() == before


def test_only_float32_on_a_gpu_is_made_exact() -> None:
    usual = now()
    with mixed_precision(torch.float32, CUDA):
        assert now() == EXACT
    with mixed_precision(torch.float32, CPU):
        assert now() == usual
    with mixed_precision(torch.bfloat16, CPU):
        assert now() == usual
    assert now() == usual


class Seen(nn.Module):
    """Notes how PyTorch is set while it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: set[tuple[str, str]] = set()

    def forward(self, x: Tensor) -> Tensor:
        if x.any():  # its memory is estimated with zeros
            self.settings.add(now())
        return torch.cat([-x, x], dim=1)


def test_a_predictor_computes_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def on_a_gpu(dtype: torch.dtype, device: torch.device):
        asked.append((dtype, device.type))
        return mixed_precision(dtype, CUDA)

    monkeypatch.setattr(engine_module, "mixed_precision", on_a_gpu)
    plan = Plan(3, ("CT",), {0: "background", 1: "bone"}, (1.0, 1.0, 1.0), (8, 8, 8), ("none",))
    usual, network = now(), Seen()
    predictor = Predictor([network], [plan], device="cpu", precision="fp32")
    predictor.predict(torch.ones(8, 8, 8), spacing_mm=(1.0, 1.0, 1.0))
    assert set(asked) == {(torch.float32, "cpu")}
    assert predictor.engine.members[0].network.settings == {EXACT}
    assert now() == usual


@pytest.mark.gpu
def test_a_convolution_is_that_of_float64_on_a_gpu() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 64, 64, 64, device="cuda"), torch.randn(64, 64, 3, 3, device="cuda")
    exact = nn.functional.conv2d(x.double(), weight.double())
    with mixed_precision(torch.float32, CUDA):
        assert (nn.functional.conv2d(x, weight) - exact).abs().max() < 1e-3
