from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from medconv.errors import ConfigError
from medconv.inference.device import mixed_precision, resolve_device, resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_takes_what_is_there(no_gpu: None) -> None:
    assert resolve_device() == CPU
    assert resolve_device(CPU) == CPU


def test_auto_takes_the_current_gpu(two_gpus: None) -> None:
    assert resolve_device() == torch.device("cuda", 1)
    assert resolve_device("cuda") == torch.device("cuda", 1)
    assert resolve_device("cuda:0") == CUDA


def test_auto_takes_apples_gpu(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device() == torch.device("mps")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cuda", r"this machine has 0 cuda device\(s\), got 'cuda'; use --device auto or cpu"),
        ("mps", r"this machine has 0 mps device\(s\)"),
        ("gpu", "expected a device auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        ("cdua", "got 'cdua'; did you mean 'cuda'?"),
        ("cuda:x", "got 'cuda:x'"),
        ("cpu:3", "got 'cpu:3'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(no_gpu: None, name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        resolve_device(name)


def test_a_gpu_too_many_is_refused(two_gpus: None) -> None:
    with pytest.raises(ConfigError, match=r"has 2 cuda device\(s\), got 'cuda:2'"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    ("name", "device", "capability", "dtype"),
    [
        ("auto", CPU, (0, 0), torch.float32),
        ("auto", torch.device("mps"), (0, 0), torch.float32),
        ("auto", CUDA, (9, 0), torch.bfloat16),
        ("auto", CUDA, (8, 0), torch.bfloat16),
        ("auto", CUDA, (7, 5), torch.float16),
        ("fp32", CUDA, (9, 0), torch.float32),
        ("fp16", CUDA, (9, 0), torch.float16),
        ("bf16", CPU, (0, 0), torch.bfloat16),
    ],
)
def test_precision_follows_the_device(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    device: torch.device,
    capability: tuple[int, int],
    dtype: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert resolve_precision(name, device) == dtype


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fp61", "precision of auto, fp32, bf16, fp16, got 'fp61'; did you mean 'fp16'"),
        ("fp16", "fp16 is slower than fp32 on a CPU; use fp32 or bf16"),
    ],
)
def test_a_precision_that_brings_nothing_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        resolve_precision(name, CPU)


def test_mixed_precision_is_on_only_below_float32() -> None:
    x = torch.ones(2, 2)
    with mixed_precision(torch.bfloat16, CPU):
        assert (x @ x).dtype == torch.bfloat16
    assert isinstance(mixed_precision(torch.float32, CPU), nullcontext)
    with mixed_precision(torch.float32, CPU):
        assert (x @ x).dtype == torch.float32
