from __future__ import annotations

import pytest
import torch

from medconv.errors import MedconvError
from medconv.inference.memory import first_that_fits


def short_of_memory() -> str:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB.\nand a long story")


def faulty() -> str:
    raise RuntimeError("expected scalar type Float but found Half")


def test_the_first_that_fits_is_taken_and_named() -> None:
    assert first_that_fits([("big", short_of_memory), ("small", lambda: "done"), ("tiny", faulty)]) == (
        "done",
        "small",
    )


def test_a_fault_is_never_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="found Half"):
        first_that_fits([("big", faulty), ("small", lambda: "done")])


def test_where_nothing_fits_the_remedy_is_said() -> None:
    text = (
        r"memory is not enough even with one tile: CUDA out of memory\. Tried to allocate 8 GiB\. Use a mach"
    )
    with pytest.raises(MedconvError, match=text):
        first_that_fits([("all", short_of_memory), ("one tile", short_of_memory)])


@pytest.mark.parametrize(
    "words",
    [
        "MPS backend out of memory (MPS allocated: 17.9 GB, other allocations: 1 GB, max allowed: 18.1 GB)",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes.",
    ],
)
def test_every_library_has_its_own_words_for_a_lack_of_memory(words: str) -> None:
    def short() -> str:
        raise RuntimeError(words)

    assert first_that_fits([("big", short), ("small", lambda: "done")]) == ("done", "small")
