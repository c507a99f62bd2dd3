"""State from a checkpoint takes the layout of the weights, and keeps its numbers."""

from __future__ import annotations

import torch

from medconv.kernels import to_channels_last
from medconv.training.optimizer_state import lay_out_state


def test_state_of_a_contiguous_run_goes_on_in_channels_last():
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(4, 6, 3)
    optimizer = torch.optim.AdamW(conv.parameters())
    conv(torch.randn(1, 4, 5, 5, 5)).sum().backward()
    optimizer.step()
    before = {k: v.clone() for k, v in optimizer.state[conv.weight].items()}
    to_channels_last(conv)
    assert optimizer.state[conv.weight]["exp_avg"].stride() != conv.weight.stride()
    lay_out_state(optimizer)
    for name, value in optimizer.state[conv.weight].items():
        assert torch.equal(value, before[name])
        if value.shape == conv.weight.shape:
            assert value.stride() == conv.weight.stride()
