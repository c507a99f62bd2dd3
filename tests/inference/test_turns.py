from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.inference.turns import all_turns, square_planes
from medconv.inference.window import sliding_window


@pytest.mark.parametrize(
    ("dims", "mirrored", "planes", "number"),
    [
        (3, (), (), 1),
        (3, (0, 2), (), 4),
        (3, (), [(0, 1)], 4),
        (3, (2,), [(0, 1)], 8),
        (3, (0,), [(0, 1)], 8),
        (3, (), [(0, 1), (1, 2)], 24),
        (3, (0, 1, 2), [(0, 1), (1, 2), (0, 2)], 48),
        (2, (0, 1), [(0, 1)], 8),
    ],
)
def test_they_are_a_group_of_the_known_size_and_undone_exactly(dims, mirrored, planes, number) -> None:
    turns = all_turns(dims, mirrored, planes)
    assert len(turns) == len(set(turns)) == number
    x = torch.arange(2 * 4**dims).reshape(2, *(4,) * dims)
    assert torch.equal(turns[0].apply(x), x)
    images = {tuple(turn.apply(x).flatten().tolist()) for turn in turns}
    assert len(images) == number
    for turn in turns:
        assert torch.equal(turn.undo(turn.apply(x)), x)
        again = {tuple(other.apply(turn.apply(x)).flatten().tolist()) for other in turns}
        assert again == images


def test_a_plane_turns_as_numpy_does() -> None:
    x = torch.arange(2 * 3 * 3 * 4).reshape(2, 3, 3, 4)
    expected = {np.rot90(x.numpy(), k, axes=(1, 2)).tobytes() for k in range(4)}
    assert {turn.apply(x).contiguous().numpy().tobytes() for turn in all_turns(3, (), [(0, 1)])} == expected


def test_averaging_makes_any_network_commute_with_every_turn() -> None:
    network = nn.Conv3d(1, 2, 3, padding=1)
    turns = all_turns(3, (2,), [(0, 1)])
    x = torch.rand(1, 1, 10, 10, 8)

    def answer(image: Tensor) -> Tensor:
        return sliding_window(network, image, (6, 6, 4), batch_size=3, turns=turns)

    with torch.inference_mode():
        straight = answer(x)
        for turn in turns:
            turned = answer(turn.apply(x[0])[None])
            torch.testing.assert_close(turn.undo(turned[0])[None], straight, atol=1e-5, rtol=1e-5)


def test_turned_copies_share_a_batch() -> None:
    seen: list[int] = []

    def spy(patches: Tensor) -> Tensor:
        seen.append(len(patches))
        return patches

    x = torch.rand(1, 1, 4, 4, 4)
    result = sliding_window(spy, x, (4, 4, 4), batch_size=8, turns=all_turns(3, (0, 1, 2)))
    torch.testing.assert_close(result, x)
    assert seen == [8]


def test_planes_are_square_in_mm_and_in_voxels_and_name_no_side() -> None:
    assert square_planes((1.0, 1.0, 1.0), (8, 8, 8), (0, 1, 2)) == ((0, 1), (0, 2), (1, 2))
    assert square_planes((1.0, 1.0, 1.0), (8, 8, 4), (0, 1, 2)) == ((0, 1),)
    assert square_planes((1.0, 2.0, 1.0), (8, 8, 8), (0, 1, 2)) == ((0, 2),)
    assert square_planes((1.0, 1.0, 1.0), (8, 8, 8), (1, 2)) == ((1, 2),)


@pytest.mark.parametrize(
    ("mirrored", "planes", "text"),
    [
        ((3,), (), "different mirror axes from 0 to 2"),
        ((), [(0, 0)], "planes of two different axes from 0 to 2"),
    ],
)
def test_axes_that_do_not_exist_are_refused(mirrored, planes, text) -> None:
    with pytest.raises(ConfigError, match=text):
        all_turns(3, mirrored, planes)
