from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.inference.tta import mirror_average


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 2), (0, 1, 2)])
def test_averaging_makes_any_network_commute_with_the_flips(axes: tuple[int, ...]) -> None:
    network = nn.Conv3d(1, 2, 3, padding=1)
    x = torch.rand(1, 1, 5, 6, 7)
    with torch.inference_mode():
        result = mirror_average(network, x, axes)
        for axis in axes:
            flipped = mirror_average(network, x.flip(axis + 2), axes)
            torch.testing.assert_close(flipped.flip(axis + 2), result, atol=1e-6, rtol=1e-6)


def test_mean_equals_a_naive_loop_over_subsets() -> None:
    network = nn.Conv2d(1, 2, 3, padding=1)
    x = torch.rand(2, 1, 4, 5)
    with torch.inference_mode():
        naive = (
            network(x)
            + network(x.flip(2)).flip(2)
            + network(x.flip(3)).flip(3)
            + network(x.flip(2, 3)).flip(2, 3)
        ) / 4
        torch.testing.assert_close(mirror_average(network, x, (0, 1)), naive, atol=1e-6, rtol=1e-6)


def test_each_flip_costs_one_pass_and_leaves_the_input_alone() -> None:
    calls: list[Tensor] = []

    def identity(patches: Tensor) -> Tensor:
        calls.append(patches)
        return patches

    x = torch.rand(1, 1, 3, 3, 3)
    kept = x.clone()
    torch.testing.assert_close(mirror_average(identity, x, (0, 1, 2)), kept)
    assert len(calls) == 8
    assert torch.equal(x, kept)


def test_half_precision_is_summed_in_float32() -> None:
    def coarse(patches: Tensor) -> Tensor:
        return patches.to(torch.bfloat16)

    assert mirror_average(coarse, torch.rand(1, 1, 4, 4), (0,)).dtype == torch.float32


@pytest.mark.parametrize("axes", [(0, 0), (2,), (-1,)])
def test_axes_that_do_not_exist_are_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="different mirror axes from 0 to 1, got"):
        mirror_average(nn.Identity(), torch.zeros(1, 1, 4, 4), axes)
