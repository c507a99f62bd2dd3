"""Patch and batch: nnU-Net's own choices, and the laws of the search."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medconv.errors import ConfigError
from medconv.models import UNet
from medconv.ops import ConvOp
from medconv.planning import (
    PLAIN,
    RESENC_L,
    RESENC_M,
    RESENC_XL,
    Cost,
    Preset,
    Sizes,
    StagePlan,
    count_map_voxels,
    fit_sizes,
    plan_stages,
)

HIPPOCAMPUS = (36, 50, 35), (1.0, 1.0, 1.0), 36 * 50 * 35 * 260
SLICES = (50, 35), (1.0, 1.0), 36 * 50 * 35 * 260
NUCLEI = (256, 256), (1.0, 1.0), 256 * 256 * 670
HEART = (115, 320, 232), (1.37, 1.25, 1.25), 115 * 320 * 232 * 20
LIVER = (482, 512, 512), (1.0, 0.767, 0.767), 482 * 512 * 512 * 131

# what nnU-Net 2.8.1's planners chose for these fingerprints
TABLE = [
    (HIPPOCAMPUS, PLAIN, (40, 56, 40), 9, 4),
    (SLICES, PLAIN, (56, 40), 366, 4),
    (HIPPOCAMPUS, RESENC_M, (40, 56, 40), 58, 4),
    (HIPPOCAMPUS, RESENC_L, (40, 56, 40), 178, 4),
    (SLICES, RESENC_M, (56, 40), 1618, 4),
    (SLICES, RESENC_L, (56, 40), 4554, 4),
    (NUCLEI, PLAIN, (256, 256), 34, 7),
    (NUCLEI, RESENC_M, (256, 256), 50, 7),
    (NUCLEI, RESENC_L, (256, 256), 141, 7),
    (HEART, PLAIN, (80, 192, 160), 2, 6),
    (HEART, RESENC_M, (80, 192, 160), 2, 6),
    (HEART, RESENC_L, (112, 288, 224), 2, 6),
    (LIVER, PLAIN, (128, 128, 128), 2, 6),
]


def choose(data: tuple, preset: Preset = PLAIN, num_classes: int = 3, **wishes: object) -> Sizes:
    shape, spacing, voxels = data

    def cost_of(patch: tuple[int, ...], stages: StagePlan) -> Cost:
        return Cost(0, count_map_voxels(patch, stages, num_classes, preset))

    capacity = preset.capacity(len(shape), wishes.pop("memory_gb", None))
    asked = {"max_share": preset.max_share} | wishes
    return fit_sizes(shape, spacing, cost_of, capacity, dataset_voxels=voxels, **asked)


def build(dims: int, channels_in: int, num_classes: int, stages: StagePlan) -> UNet:
    """nnU-Net's plain network, without memory."""
    grids = {"channels": stages.channels, "strides": stages.strides, "kernel_sizes": stages.kernel_sizes}
    with torch.device("meta"):
        return UNet(dims, channels_in, num_classes, downsample="stride", upsample="transpose", **grids)


@pytest.mark.parametrize(("data", "preset", "patch", "batch", "stages"), TABLE)
def test_the_choice_is_that_of_nnunet(
    data: tuple, preset: Preset, patch: tuple[int, ...], batch: int, stages: int
) -> None:
    sizes = choose(data, preset)
    assert (sizes.patch_size, sizes.batch_size, len(sizes.stages)) == (patch, batch, stages)


@pytest.mark.parametrize(
    ("data", "channels_in", "num_classes", "millions"),
    [(HIPPOCAMPUS, 1, 3, 5.60), (SLICES, 1, 3, 1.93), (LIVER, 1, 3, 31.2), (HEART, 1, 2, 30.8)],
)
def test_the_network_of_the_plan_has_the_size_of_nnunets(
    data: tuple, channels_in: int, num_classes: int, millions: float
) -> None:
    stages = choose(data).stages
    net = build(len(data[0]), channels_in, num_classes, stages)
    parameters = sum(p.numel() for p in net.parameters()) / 1e6
    assert parameters == pytest.approx(millions, rel=0.01)


def test_a_small_dataset_caps_the_batch_and_no_batch_is_below_two() -> None:
    shape, spacing, voxels = HIPPOCAMPUS
    assert choose(HIPPOCAMPUS).roomy_batch == 58
    assert choose((shape, spacing, voxels * 208 / 260)).batch_size == 7
    assert choose((shape, spacing, voxels / 260)).batch_size == 2
    assert choose(HIPPOCAMPUS, max_share=None).batch_size == 58


def test_more_memory_means_larger_patches_in_proportion() -> None:
    patches = [prod(choose(LIVER, memory_gb=gb).patch_size) for gb in (4, 8, 16, 40, 80)]
    assert patches == sorted(patches)
    assert patches[-1] > 8 * patches[0]
    assert RESENC_XL.capacity(3) == 7.2e9


def test_a_batch_that_is_asked_for_shortens_the_patch() -> None:
    sizes = choose(HEART, batch_size=8)
    assert sizes.batch_size == 8
    assert sizes.cost.of(8) <= PLAIN.capacity(3) < sizes.cost.of(8) * 2
    assert prod(sizes.patch_size) < prod(choose(HEART).patch_size)


def test_a_patch_that_is_given_is_kept_and_refused_where_it_does_not_fit() -> None:
    assert choose(LIVER, patch_size=(100, 90, 80)).patch_size == (100, 90, 80)
    assert choose(LIVER, patch_size=(160, 160, 176)).batch_size == 1
    with pytest.raises(
        ConfigError, match=r"room for 1 patch\(es\) of \[512, 512, 512\], the memory holds 0; give a"
    ):
        choose(LIVER, patch_size=(512, 512, 512))
    with pytest.raises(ConfigError, match=r"room for 3 patch\(es\) of \[128, 128, 128\], the memory holds 2"):
        choose(LIVER, patch_size=(128, 128, 128), batch_size=3)


def test_room_for_nothing_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        ConfigError, match="got too little memory; give more, or a network with fewer channels"
    ):
        choose(LIVER, memory_gb=1e-6)


def test_memory_is_not_exceeded_where_a_stand_in_may_be_rounded() -> None:
    assert Cost(0, 10).largest_batch(28) == 3
    assert Cost(0, 10, is_memory=True).largest_batch(28) == 2
    assert Cost(20, 10, is_memory=True).largest_batch(28) == 0
    assert Cost(100, 10, is_memory=True).largest_batch(28) == 0
    assert Cost(5, 10).of(3) == 35


@settings(max_examples=30)
@given(
    shape=st.tuples(*[st.integers(1, 400)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    gigabytes=st.floats(2, 40),
)
def test_every_choice_fits_divides_and_covers_no_more_than_needed(
    shape: tuple[int, ...], spacing: tuple[float, ...], gigabytes: float
) -> None:
    sizes = choose((shape, spacing, prod(shape) * 100), memory_gb=gigabytes)
    assert sizes.cost.of(2) <= PLAIN.capacity(3, gigabytes)
    assert sizes.batch_size >= 2
    for patch, size, divisor in zip(sizes.patch_size, shape, sizes.stages.divisor, strict=True):
        assert patch % divisor == 0
        assert 0 < patch < size + 2 * divisor


def test_the_count_is_that_of_the_maps_of_a_real_network() -> None:
    """Every convolution of nnU-Net's plain network writes one map; here they are counted by hooks."""
    patch, spacing = (16, 24, 32), (2.5, 1.0, 1.0)
    stages = plan_stages(patch, spacing)
    net = build(3, 1, 4, stages)
    written: list[int] = []
    for layer in net.modules():
        if isinstance(layer, ConvOp | nn.Conv3d | nn.ConvTranspose3d):
            layer.register_forward_hook(lambda _layer, _args, out: written.append(out.numel()))
    with torch.no_grad():
        net(torch.empty(1, 1, *patch, device="meta"))
    assert count_map_voxels(patch, stages, 4) == sum(written)
