from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from medconv.ops import GradientWeightedConv, StandardConv
from medconv.ops.probe import (
    NotApplicableError,
    Probe,
    naive_convolution,
    naive_size,
    probes,
    require,
    symmetric_size,
)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "geometry",
    [{}, {"stride": 2}, {"dilation": 2}, {"groups": 2}, {"bias": False}, {"kernel_size": 2, "stride": 2}],
)
def test_naive_convolution_is_that_of_torch(dims: int, geometry: dict[str, Any]) -> None:
    op = StandardConv(dims, 4, 6, **geometry).double()
    x = torch.randn(2, 4, *(7, 6, 5)[:dims], dtype=torch.float64)
    bias = None if op.bias is None else op.bias.normal_() if not op.bias.requires_grad else op.bias
    convolution = (F.conv2d, F.conv3d)[dims - 2]
    expected = convolution(x, op.weight, bias, op.stride, op.padding, op.dilation, op.groups)
    assert naive_size(op, tuple(x.shape[2:])) == tuple(expected.shape[2:])
    torch.testing.assert_close(naive_convolution(op, x, op.weight), expected, atol=1e-12, rtol=0)


def test_built_operators_are_away_from_their_start_and_repeatable() -> None:
    probe = Probe(GradientWeightedConv, 2)
    op = probe.build()
    assert isinstance(op, GradientWeightedConv)
    assert op.alpha != 0
    assert not op.training
    assert op.weight.dtype == torch.float64
    torch.manual_seed(0)
    first = probe.build().state_dict()
    torch.manual_seed(0)
    second = probe.build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_guided_operators_are_fed_a_guide() -> None:
    probe = Probe(GradientWeightedConv, 3)
    x, guide = probe.feed(probe.build(), (4, 5, 6), batch=3)
    assert (x.shape, guide.shape) == ((3, 4, 4, 5, 6), (3, 1, 4, 5, 6))
    assert guide.min() >= 0
    assert len(Probe(StandardConv, 2).feed(StandardConv(2, 4, 8), (4, 5))) == 1


def test_symmetric_size_leaves_nothing_over() -> None:
    assert symmetric_size(StandardConv(2, 1, 1)) == (5, 5)
    assert symmetric_size(StandardConv(3, 1, 1, 2, stride=2)) == (6, 6, 6)
    with pytest.raises(NotApplicableError, match="the stride leaves voxels over at every size"):
        symmetric_size(StandardConv(2, 1, 1, (3, 2), stride=(2, 2)))


def test_the_plain_geometry_comes_first_and_labels_differ() -> None:
    labels = [str(probe) for probe in probes(StandardConv, 3, "cpu")]
    assert labels[0] == "3-D, plain geometry"
    assert len(set(labels)) == len(labels)


def test_require_raises_with_its_text() -> None:
    require(True, "never seen")
    with pytest.raises(AssertionError, match="why it failed"):
        require(False, "why it failed")
