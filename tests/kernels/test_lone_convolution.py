"""A single volume on the processor: the same convolution by a quicker way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from medconv.kernels.lone_convolution import convolve
from medconv.ops import StandardConv

GEOMETRIES = [  # channels in and out, kernel, stride, padding, dilation, groups
    (1, 4, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    (4, 8, (3, 1, 5), (2, 1, 2), (1, 0, 2), (1, 1, 1), 2),
    (6, 6, (3, 3, 3), (1, 1, 1), (2, 2, 2), (2, 2, 2), 6),
    (4, 3, (1, 1, 1), (2, 2, 2), (0, 0, 0), (1, 1, 1), 1),
    (4, 4, (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), 1),
]


class Asked(TorchDispatchMode):
    """Which operators PyTorch is asked for."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_it_is_pytorchs_convolution(geometry, batch, has_bias):
    channels, out, kernel, stride, padding, dilation, groups = geometry
    x = torch.randn(batch, channels, 9, 8, 7)
    weight = torch.randn(out, channels // groups, *kernel)
    bias = torch.randn(out) if has_bias else None
    expected = F.conv3d(x.double(), weight.double(), None if bias is None else bias.double(), *geometry[3:])
    for mode in (True, False):
        with torch.inference_mode(mode):
            y = convolve(x, weight, bias, stride, padding, dilation, groups)
        torch.testing.assert_close(y.double(), expected, atol=1e-4, rtol=1e-4)


def test_images_have_two_axes():
    x, weight = torch.randn(1, 2, 9, 8), torch.randn(3, 2, 3, 3)
    with torch.inference_mode():
        y = convolve(x, weight, None, (1, 1), (1, 1), (1, 1), 1)
    assert torch.equal(y, F.conv2d(x, weight, padding=1))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_any_layout_is_taken(memory_format):
    x = torch.randn(1, 4, 9, 8, 7).to(memory_format=memory_format)
    part = torch.randn(1, 4, 18, 8, 7)[:, :, ::2]
    weight = torch.randn(5, 4, 3, 3, 3).to(memory_format=memory_format)
    for given in (x, part):
        with torch.inference_mode():
            y = convolve(given, weight, None, (1, 1, 1), (1, 1, 1), (1, 1, 1), 1)
        torch.testing.assert_close(y, F.conv3d(given, weight, padding=1), atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
def test_only_a_single_volume_that_nothing_is_learned_from_goes_another_way():
    op, name = StandardConv(3, 2, 3), "aten::mkldnn_convolution"
    volume = torch.randn(1, 2, 8, 8, 8)
    for x, mode, expected in (
        (volume, True, True),
        (volume, False, False),
        (volume.expand(2, -1, -1, -1, -1), True, False),
        (volume.double(), True, False),
    ):
        with torch.inference_mode(mode), Asked() as asked:
            op.to(x.dtype)(x)
        assert (name in asked.names) is expected, (x.shape, x.dtype, mode)
        op.float()


def test_gradients_flow_as_ever():
    op = StandardConv(3, 2, 3)
    op(torch.randn(1, 2, 5, 5, 5)).sum().backward()
    assert op.weight.grad.abs().sum() > 0
