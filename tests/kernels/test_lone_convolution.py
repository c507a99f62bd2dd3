"""A single volume on the processor: the same convolution by a quicker way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from medconv.kernels.lone_convolution import quick_alone

GEOMETRIES = [  # channels in and out, kernel, stride, padding, dilation, groups
    (1, 4, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    (4, 8, (3, 1, 5), (2, 1, 2), (1, 0, 2), (1, 1, 1), 2),
    (6, 6, (3, 3, 3), (1, 1, 1), (2, 2, 2), (2, 2, 2), 6),
    (4, 3, (1, 1, 1), (2, 2, 2), (0, 0, 0), (1, 1, 1), 1),
    (4, 4, (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), 1),
    (4, 4, 3, 1, "same", 1, 1),
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
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_it_is_pytorchs_convolution(geometry, batch, has_bias):
    channels, out, *rest = geometry
    x = torch.randn(batch, channels, 9, 8, 7)
    layer = nn.Conv3d(channels, out, *rest[:4], groups=rest[4], bias=has_bias)
    with torch.no_grad():
        expected = layer.double()(x.double())
        with quick_alone(x):
            y = layer.float()(x)
    torch.testing.assert_close(y.double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_any_layout_is_taken(memory_format):
    x = torch.randn(1, 4, 9, 8, 7).to(memory_format=memory_format)
    part = torch.randn(1, 4, 18, 8, 7)[:, :, ::2]
    weight = torch.randn(5, 4, 3, 3, 3).to(memory_format=memory_format)
    for given in (x, part):
        with quick_alone(given):
            y = F.conv3d(given, weight, padding=1)
        torch.testing.assert_close(y, F.conv3d(given, weight, padding=1), atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
def test_only_a_single_volume_in_full_precision_goes_another_way():
    name, layer = "aten::mkldnn_convolution", nn.Conv3d(2, 3, 3, padding=1).requires_grad_(False)
    volume = torch.randn(1, 2, 8, 8, 8)
    for x, asked_for in ((volume, True), (volume.expand(2, -1, -1, -1, -1), False), (volume.double(), False)):
        layer.to(x.dtype)
        with Asked() as asked, quick_alone(x):
            layer(x)
        assert (name in asked.names) is asked_for, (x.shape, x.dtype)
    layer.float()
    with torch.autocast("cpu", torch.bfloat16), quick_alone(volume):
        assert layer(volume).dtype == torch.bfloat16
    with Asked() as asked:
        layer(volume)
    assert name not in asked.names


def test_images_are_left_as_they_are():
    x, layer = torch.randn(1, 2, 9, 8), nn.Conv2d(2, 3, 3)
    with quick_alone(x):
        y = layer(x)
    assert torch.equal(y, layer(x))


def test_gradients_are_the_same():
    x, layer = torch.randn(1, 2, 5, 5, 5), nn.Conv3d(2, 3, 3)
    layer(x).square().sum().backward()
    expected, layer.weight.grad = layer.weight.grad, None
    with quick_alone(x):
        layer(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, expected, atol=1e-4, rtol=1e-4)
