from __future__ import annotations

import pytest
import torch
from tiny_checkpoint import tiny_plan

from medconv.errors import ConfigError
from medconv.inference.ensemble import LogMeanProbability, agreed_plan


def combined(*logits: torch.Tensor) -> torch.Tensor:
    mean = LogMeanProbability()
    for one in logits:
        mean.add(one)
    return mean.result()


@pytest.mark.parametrize("number", [2, 3, 5])
def test_scores_are_the_log_of_the_mean_probability(number: int) -> None:
    logits = [torch.randn(1, 4, 3, 3, dtype=torch.float64) * 5 for _ in range(number)]
    naive = torch.stack([torch.softmax(one, dim=1) for one in logits]).mean(0)
    torch.testing.assert_close(combined(*logits).exp(), naive)


def test_one_network_gives_its_logits() -> None:
    logits = torch.randn(1, 3, 4)
    assert torch.equal(combined(logits), logits)


def test_a_copy_beside_a_network_never_moves_a_decision_even_after_interpolation() -> None:
    logits = torch.randn(1, 5, 4, 4) * 10
    size = {"size": (13, 13), "mode": "bilinear"}
    alone = torch.nn.functional.interpolate(logits, **size)
    both = torch.nn.functional.interpolate(combined(logits, logits), **size)
    shift = (alone - both).mean(dim=1, keepdim=True)
    torch.testing.assert_close(alone - both, shift.expand_as(alone), atol=1e-4, rtol=0)
    assert (alone.argmax(1) != both.argmax(1)).float().mean() < 1e-3


def test_certainty_of_one_against_the_other_stays_finite() -> None:
    assert combined(torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])).isfinite().all()


def test_nothing_is_no_ensemble() -> None:
    with pytest.raises(ConfigError, match="at least one network, got none"):
        combined()
    with pytest.raises(ConfigError, match="at least one checkpoint, got none"):
        agreed_plan([])


def test_plans_may_differ_in_their_patch_only() -> None:
    first = tiny_plan()
    assert agreed_plan([first, tiny_plan(patch_size=(4, 4, 4))]) is first


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"spacing_mm": (1.0, 1.0, 2.5)},
            r"checkpoints 1 and 3 differ in spacing_mm: \[0\.8, .*\] and \[1\.0,",
        ),
        ({"label_names": {0: "background", 1: "tail", 2: "head"}}, "differ in label_names"),
        ({"normalization": ("percentile",)}, "differ in normalization"),
        ({"orientation": "LPS"}, "differ in orientation"),
    ],
)
def test_networks_of_other_plans_are_no_ensemble(change: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        agreed_plan([tiny_plan(), tiny_plan(), tiny_plan(**change)])
