import pytest
import torch

from medconv.errors import ShapeError
from medconv.planning import InstanceTarget
from medconv.transforms import instance_fields


def test_the_height_of_shells_is_the_expected_shell():
    shares = torch.rand(4, 3, 3).sort(dim=0, descending=True).values
    fields = instance_fields(torch.logit(shares), InstanceTarget(levels=4))
    # P(shell = k) = P(shell >= k) - P(shell >= k + 1)
    exact = torch.cat([1 - shares[:1], shares - torch.cat([shares[1:], torch.zeros(1, 3, 3)])])
    expected = (exact * torch.arange(5).view(-1, 1, 1)).sum(dim=0) / 4
    assert torch.allclose(fields[1], expected, atol=1e-6)
    assert torch.allclose(fields[0], shares[0], atol=1e-6)


def test_inside_and_rim_are_the_foreground():
    scores = torch.randn(3, 5, dtype=torch.float64)
    shares = scores.softmax(dim=0).float()
    fields = instance_fields(scores, InstanceTarget("boundary"))
    assert torch.allclose(fields, torch.stack([1 - shares[0], shares[1]]), atol=1e-6)
    assert fields.dtype == torch.float32


def test_another_number_of_scores_is_refused():
    with pytest.raises(ShapeError, match=r"expected scores \(K, \*S\) with K 5 for .*, got \(3, 4, 4\)"):
        instance_fields(torch.zeros(3, 4, 4), InstanceTarget())
