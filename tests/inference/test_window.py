from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from medconv.errors import ConfigError, ShapeError
from medconv.inference.turns import Turn, all_turns
from medconv.inference.window import TileRows, sliding_window


@settings(max_examples=25, deadline=None)
@given(
    size=st.lists(st.integers(1, 17), min_size=2, max_size=3),
    patch_edge=st.integers(1, 9),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.7]),
    batch_size=st.integers(1, 5),
)
def test_identity_gives_the_volume_back(
    size: list[int], patch_edge: int, overlap: float, batch_size: int
) -> None:
    image = torch.rand(1, 2, *size)
    kept = image.clone()
    patch = [patch_edge + axis for axis in range(len(size))]
    result = sliding_window(nn.Identity(), image, patch, overlap=overlap, batch_size=batch_size)
    torch.testing.assert_close(result, kept, atol=1e-6, rtol=0)
    torch.testing.assert_close(image, kept, atol=0, rtol=0)


def test_a_pointwise_network_is_unchanged_by_tiling() -> None:
    network = nn.Conv3d(1, 3, 1)
    image = torch.rand(1, 1, 13, 8, 21)
    with torch.inference_mode():
        tiled = sliding_window(network, image, (8, 8, 8))
        torch.testing.assert_close(tiled, network(image), atol=1e-6, rtol=1e-6)


def test_patches_are_trusted_most_at_their_centre() -> None:
    def border_is_wrong(patches: Tensor) -> Tensor:
        answer = torch.ones_like(patches)
        answer[..., :2] = answer[..., -2:] = 0
        return answer

    result = sliding_window(border_is_wrong, torch.zeros(1, 1, 4, 64), (4, 16), overlap=0.5)
    inside = result[0, 0, 0, 8:-8]
    assert inside.min() > 0.85, "plain averaging would leave 0.5 where neighbours overlap"


def test_the_tiles_of_a_row_pass_the_network_in_batches() -> None:
    seen: list[tuple[int, ...]] = []

    def spy(patches: Tensor) -> Tensor:
        seen.append(tuple(patches.shape))
        return patches

    sliding_window(spy, torch.zeros(1, 1, 24, 24), (8, 8), overlap=0.5, batch_size=4)
    # five tiles a row: the first two rows of tiles have room together, each that follows makes room for itself
    assert [shape[0] for shape in seen] == [4, 4, 2] + [4, 1] * 3
    assert {shape[1:] for shape in seen} == {(1, 8, 8)}


@pytest.mark.parametrize("turns", [(), all_turns(2, (0, 1))], ids=["as it is", "mirrored"])
def test_all_tiles_of_a_small_image_pass_together_and_say_the_same(turns: tuple[Turn, ...]) -> None:
    seen: list[int] = []

    def spy(patches: Tensor) -> Tensor:
        seen.append(len(patches))
        return patches * 2

    image = torch.rand(1, 1, 24, 21)
    together = TileRows(spy, image, (8, 8), batch_size=100, turns=turns, most_rows=24).rows(0, 24)
    assert seen == [25 * max(1, len(turns))]
    one_by_one = sliding_window(spy, image, (8, 8), batch_size=1, turns=turns)[0]
    assert torch.equal(together, one_by_one), "the order in which a voxel's tiles are added up is the same"


def test_half_precision_answers_are_blended_in_float32() -> None:
    def coarse(patches: Tensor) -> Tensor:
        return (patches * 0 + 1).to(torch.bfloat16)

    result = sliding_window(coarse, torch.rand(1, 1, 30, 30), (8, 8))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, torch.ones_like(result), atol=1e-6, rtol=0)


@pytest.mark.gpu
def test_tiles_travel_to_the_network_and_the_result_stays_with_the_image() -> None:
    seen = set()

    def spy(patches: Tensor) -> Tensor:
        seen.add(patches.device.type)
        return patches

    image = torch.rand(1, 1, 12, 12)
    result = sliding_window(spy, image, (8, 8), device=torch.device("cuda"))
    torch.testing.assert_close(result, image, atol=1e-6, rtol=0)
    assert seen == {"cuda"}


@pytest.mark.parametrize(
    ("shape", "patch", "options", "error", "text"),
    [
        ((2, 1, 8, 8), (4, 4), {}, ShapeError, r"one volume \(1, C, \*S\), got \(2, 1, 8, 8\)"),
        ((1, 1, 8, 8), (4, 4, 4), {}, ShapeError, "patch_size with 2 entries"),
        ((1, 1, 8, 8), (4, 0), {}, ConfigError, "patch edges and batch_size from 1"),
        ((1, 1, 8, 8), (4, 4), {"batch_size": 0}, ConfigError, "patch edges and batch_size from 1"),
        (
            (1, 1, 8, 8),
            (4, 4),
            {"overlap": 1.0},
            ConfigError,
            "overlap from 0 up to, not including, 1; got 1.0",
        ),
        ((1, 1, 8, 8), (4, 4), {"overlap": -0.1}, ConfigError, "got -0.1"),
    ],
)
def test_wrong_arguments_are_named(
    shape: tuple[int, ...],
    patch: tuple[int, ...],
    options: dict[str, float],
    error: type[Exception],
    text: str,
) -> None:
    with pytest.raises(error, match=text):
        sliding_window(nn.Identity(), torch.zeros(shape), patch, **options)  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(
    size=st.lists(st.integers(1, 19), min_size=2, max_size=3),
    patch_edge=st.integers(1, 9),
    overlap=st.sampled_from([0.0, 0.5]),
)
def test_without_blending_identity_is_exact(size: list[int], patch_edge: int, overlap: float) -> None:
    image = torch.rand(1, 2, *size)
    patch = [patch_edge + axis for axis in range(len(size))]
    assert torch.equal(sliding_window(nn.Identity(), image, patch, overlap=overlap, blend="crop"), image)


@pytest.mark.parametrize("most_rows", [1, 3, 8])
def test_rows_read_in_order_equal_the_whole(most_rows: int) -> None:
    network = nn.Conv3d(1, 3, 3, padding=1)
    image = torch.rand(1, 1, 37, 9, 11)
    with torch.inference_mode():
        whole = sliding_window(network, image, (8, 8, 8))[0]
        scores = TileRows(network, image, (8, 8, 8), most_rows=most_rows)
        for start in range(0, 38 - most_rows, max(1, most_rows - 1)):
            part = scores.rows(start, start + most_rows)
            torch.testing.assert_close(part, whole[:, start : start + most_rows])
        assert scores._rows is not None
        assert scores._rows.shape[1] == 8 + most_rows  # never the whole


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"expected scores \(B, K, \*P\) .* \(1, 1, 8, 8\), got \(1, 1, 4, 4\)"
    ):
        sliding_window(lambda x: x[..., ::2, ::2], torch.zeros(1, 1, 8, 8), (8, 8))


def test_a_network_is_never_asked_to_lend_its_memory() -> None:
    kept = torch.ones(1, 2, 8, 8)
    result = sliding_window(lambda _: kept, torch.zeros(1, 1, 8, 8), (8, 8))
    result += 1
    assert torch.equal(kept, torch.ones(1, 2, 8, 8))
