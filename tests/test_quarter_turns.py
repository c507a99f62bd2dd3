"""The symmetric networks of the shipped configurations turn with the image: segment a turned image, turn the result."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from medconv.datamodules import draw_cells
from medconv.io import read_image
from medconv.models import build_network
from medconv.transforms.normalize import normalize

CONFIGS = Path(__file__).parents[1] / "configs"
SYMMETRIC = [f"{family}_{arm}" for family in ("nuclei", "membrane") for arm in ("sym", "ring", "p4m")]
LARGEST_DIFFERENCE = 1e-5
TURNS = {
    "quarter-turn": lambda x: torch.rot90(x, 1, (-2, -1)),
    "half-turn": lambda x: torch.rot90(x, 2, (-2, -1)),
    "mirror": lambda x: x.flip(-1),
}


def build(name: str, **changes: object) -> nn.Module:
    spec = deepcopy(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"]["network"])
    spec["init_args"] |= changes
    torch.manual_seed(0)
    return build_network(spec)


def train(network: nn.Module, image: Tensor, label: Tensor, steps: int) -> None:
    """A few steps, on what the network was not made for, so that every weight has moved."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    network.train()
    for _ in range(steps):
        scores = network(image)[0][:, :1]
        loss = nn.functional.binary_cross_entropy_with_logits(scores, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()


def largest_difference(network: nn.Module, image: Tensor) -> dict[str, float]:
    with torch.inference_mode():
        straight = network(image)
        return {
            name: float((network(turn(image)) - turn(straight)).abs().max()) for name, turn in TURNS.items()
        }


@pytest.fixture(scope="module")
def cells() -> tuple[Tensor, Tensor]:
    """An image that is not square and that the network has to pad, and its mask."""
    drawn = draw_cells(3, 1)
    image = normalize(drawn.image[None, :74, :98].astype("float32"), ["percentile"], [None])
    label = torch.from_numpy((drawn.label[:74, :98] > 0).astype("float32"))
    return torch.from_numpy(image)[None], label[None, None]


@pytest.mark.parametrize(
    "name", [SYMMETRIC[0], *(pytest.param(name, marks=pytest.mark.slow) for name in SYMMETRIC[1:3])]
)
def test_small_networks_of_the_kind_are_exact_before_and_after_training(
    name: str, cells: tuple[Tensor, Tensor]
) -> None:
    network = build(name, channels=[8, 16, 16, 16, 16]).eval()
    assert max(largest_difference(network, cells[0]).values()) <= LARGEST_DIFFERENCE
    train(network, *cells, steps=3)
    assert max(largest_difference(network, cells[0]).values()) <= LARGEST_DIFFERENCE


def test_a_plain_network_is_not(cells: tuple[Tensor, Tensor]) -> None:
    network = build("nuclei_plain", channels=[8, 16, 16, 16, 16]).eval()
    assert min(largest_difference(network, cells[0]).values()) > 100 * LARGEST_DIFFERENCE


@pytest.mark.slow
@pytest.mark.parametrize("name", SYMMETRIC[:3])
def test_whole_networks_are_exact_on_a_whole_nucleus_image(
    name: str, cells: tuple[Tensor, Tensor], real_data: Path
) -> None:
    paths = sorted((real_data / "nuclei/images").glob("*.png"))
    volume = next(v for v in map(read_one, paths) if v.shape[1:3] == (256, 320))
    image = torch.from_numpy(normalize(volume[..., 0], ["percentile"], [None]))[None]
    network = build(name).eval()
    # probabilities, as `predict` gives them: sums over hundreds of channels round scores a little further apart
    answer = nn.Sequential(network, nn.Sigmoid()).eval()
    assert max(largest_difference(answer, image).values()) <= LARGEST_DIFFERENCE
    train(network, *cells, steps=2)
    assert max(largest_difference(answer, image).values()) <= LARGEST_DIFFERENCE


def read_one(path: Path):
    return read_image([path]).data
