from __future__ import annotations

from functools import partial
from math import log

import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import nn

from medconv.errors import ConfigError
from medconv.ops import MorphologicalConv, check_conv

MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}


def hard(dims: int, **character: object) -> MorphologicalConv:
    torch.manual_seed(0)
    conv = MorphologicalConv(dims, 2, 3, softness=0.0, **character).double()  # type: ignore[arg-type]
    nn.init.uniform_(conv.element, -0.5, 0.5)
    return conv


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_a_flat_element_is_bitwise_max_pooling(dims: int, stride: int, dilation: int) -> None:
    conv = MorphologicalConv(dims, 2, 3, softness=0.0, stride=stride, dilation=dilation)
    nn.init.zeros_(conv.element)
    x = torch.randn(2, 2, *(9, 8, 7)[:dims])

    def pooled(image: torch.Tensor) -> torch.Tensor:
        padded = F.pad(image, [dilation] * 2 * dims, value=-torch.inf)  # more than the pool itself accepts
        return MAX_POOL[dims](padded, 3, stride, dilation=dilation)

    assert torch.equal(conv.dilate(x, conv.stride), pooled(x))
    assert torch.equal(conv.erode(x, conv.stride), -pooled(-x))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("operation", ["dilation", "erosion", "opening", "closing"])
def test_it_is_the_grey_morphology_of_scipy(dims: int, operation: str) -> None:
    conv = hard(dims, operation=operation, groups=1)
    x = torch.randn(1, 2, *(7, 6, 5)[:dims], dtype=torch.float64)
    parts = []
    for c in range(2):
        element, image = conv.element[c].detach().numpy(), x[0, c].numpy()
        # scipy dilates by the reflected element, and outside of the image nothing may count
        up = partial(
            ndimage.grey_dilation,
            structure=element[(slice(None, None, -1),) * dims],
            mode="constant",
            cval=-1e9,
        )
        down = partial(
            ndimage.grey_erosion,
            structure=element[(slice(None, None, -1),) * dims],
            mode="constant",
            cval=1e9,
        )
        steps = {"dilation": [up], "erosion": [down], "opening": [down, up], "closing": [up, down]}[operation]
        for step in steps:
            image = step(image)
        parts.append(torch.from_numpy(image))
    mixed = torch.einsum("oi,i...->o...", conv.point_weight.flatten(1), torch.stack(parts))
    torch.testing.assert_close(conv(x)[0], mixed + conv.bias.reshape(-1, *[1] * dims), atol=1e-12, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_dilation_and_erosion_are_adjoint(dims: int) -> None:
    conv = hard(dims)
    x = torch.randn(1, 2, *[6] * dims, dtype=torch.float64)
    assert (x <= conv.erode(conv.dilate(x)) + 1e-12).all()
    assert (conv.dilate(conv.erode(x)) <= x + 1e-12).all()
    for y in (conv.dilate(x), conv.dilate(x) - 0.01, torch.randn_like(x)):
        assert bool((conv.dilate(x) <= y + 1e-12).all()) == bool((x <= conv.erode(y) + 1e-12).all())


@pytest.mark.parametrize("dims", [2, 3])
def test_opening_twice_is_opening_once(dims: int) -> None:
    conv = hard(dims)
    x = torch.randn(1, 2, *[7] * dims, dtype=torch.float64)
    once = conv.dilate(conv.erode(x))
    torch.testing.assert_close(conv.dilate(conv.erode(once)), once, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("tau", [0.3, 0.01])
def test_softness_is_a_bounded_error(dims: int, tau: float) -> None:
    sharp, soft = hard(dims), MorphologicalConv(dims, 2, 3, softness=tau).double()
    soft.load_state_dict(sharp.state_dict() | {"temperature": torch.tensor(tau)})
    x = torch.randn(1, 2, *[6] * dims, dtype=torch.float64)
    over = soft.dilate(x) - sharp.dilate(x)
    assert over.min() >= -1e-9
    assert 0 < over.max() <= tau * log(3**dims) + 1e-6
    under = sharp.erode(x) - soft.erode(x)
    assert under.min() >= -1e-9
    assert under.max() <= tau * log(3**dims) + 1e-6


def test_every_tap_learns_when_soft_and_one_a_voxel_when_hard() -> None:
    x = torch.rand(1, 1, 3, 3, dtype=torch.float64)
    for softness, learning in ((0.3, 9), (0.0, 1)):
        conv = MorphologicalConv(2, 1, 1, softness=softness).double()
        conv.dilate(x)[..., 1, 1].sum().backward()
        assert int((conv.element.grad != 0).sum()) == learning


@pytest.mark.parametrize("character", [{"softness": 0.0}, {"operation": "closing"}], ids=str)
def test_other_characters_pass_the_examination(character: dict[str, object]) -> None:
    check_conv(partial(MorphologicalConv, **character), dims=(2,), backend=None)  # type: ignore[arg-type]


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="'dilation', 'erosion', 'opening' or 'closing', got 'blur'"):
        MorphologicalConv(2, 1, 1, operation="blur")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a softness of at least 0, got -1"):
        MorphologicalConv(2, 1, 1, softness=-1)
    with pytest.raises(ConfigError, match=r"odd kernel sizes, which have a centre voxel, got \(2, 2\)"):
        MorphologicalConv(2, 1, 1, 2, stride=2)
