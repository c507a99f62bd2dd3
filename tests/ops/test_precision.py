from __future__ import annotations

import torch
from torch import nn

from medconv.ops import convolution_dtype, full_precision


def test_full_precision_keeps_a_product_out_of_autocast() -> None:
    x, linear = torch.randn(2, 4), nn.Linear(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x).dtype == torch.bfloat16
        with full_precision(x):
            assert linear(x).dtype == torch.float32
    with full_precision(x.to("meta")):
        assert x.dtype == torch.float32


def test_the_type_of_a_convolution_is_what_autocast_makes_of_it() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = torch.randn(1, 1, 4, 4, dtype=dtype)
        kernel = torch.randn(1, 1, 3, 3, dtype=dtype)
        assert convolution_dtype(x) == nn.functional.conv2d(x, kernel).dtype
        assert convolution_dtype(x.to("meta")) == dtype
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert convolution_dtype(x) == nn.functional.conv2d(x, kernel).dtype


def test_the_compiler_looks_through_both() -> None:
    def law(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        narrow = x.to(convolution_dtype(x))
        with full_precision(x):
            return narrow, x @ x

    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow, product = torch.compile(law, fullgraph=True, backend="eager")(torch.randn(3, 3))
    assert (narrow.dtype, product.dtype) == (torch.bfloat16, torch.float32)
