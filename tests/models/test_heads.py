from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F

from medconv.models.heads import SegmentationHeads


def test_auxiliary_heads_work_in_training_only() -> None:
    heads = SegmentationHeads(2, [4, 8], 3)
    maps = [torch.randn(1, 4, 8, 8), torch.randn(1, 8, 4, 4), torch.randn(1, 16, 2, 2)]
    assert [tuple(y.shape) for y in heads(maps)] == [(1, 3, 8, 8), (1, 3, 4, 4)]
    assert [tuple(y.shape) for y in heads.eval()(maps)] == [(1, 3, 8, 8)]


def test_a_head_is_a_mix_of_channels_voxel_by_voxel() -> None:
    heads = SegmentationHeads(3, [2], 3)
    x = torch.randn(1, 2, 4, 5, 6)
    (y,) = heads([x])
    head = heads.heads[0]
    expected = torch.einsum("kc,bcxyz->bkxyz", head.weight[:, :, 0, 0, 0], x) + head.bias.view(-1, 1, 1, 1)
    torch.testing.assert_close(y, expected)


def test_training_starts_undecided() -> None:
    torch.manual_seed(0)
    heads = SegmentationHeads(2, [32], 5)
    (y,) = heads([torch.randn(1, 32, 16, 16)])
    target = torch.randint(5, (1, 16, 16))
    assert abs(float(F.cross_entropy(y, target).detach()) - log(5)) < 0.05
