from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from medconv.errors import ConfigError
from medconv.ops import DynamicConv, MorphologicalConv, SparseConv, StandardConv
from medconv.training import GroupLasso, PruneGradually, RegrowWeights, TemperatureSchedule
from medconv.training.callbacks.sparsity import exchange, shrink_channels

STEPS = 12


class Task(pl.LightningModule):
    """Two sparse layers, trained on noise; notes what it is after every step."""

    def __init__(self, *layers: nn.Module, optimiser: str = "AdamW") -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)
        self.optimiser, self.notes = optimiser, []

    def training_step(self, batch, batch_idx):
        y = self.net(batch)
        return (y - y.detach().roll(1, 1) - batch.mean()).square().mean()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        layers = [m for m in self.net if isinstance(m, SparseConv)]
        self.notes.append([(int((m.dense_weight() == 0).sum()), m.mask.clone()) for m in layers])

    def configure_optimizers(self):
        return getattr(torch.optim, self.optimiser)(self.parameters(), lr=0.01, weight_decay=0.01)


def fit(tmp_path, task, *callbacks, epochs=1, **settings):
    torch.manual_seed(0)
    data = DataLoader(torch.randn(2 * STEPS, 8, 5, 5), batch_size=2, generator=torch.Generator())
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(task, data)
    return trainer


def pair(**character):
    return SparseConv(2, 8, 8, **character), SparseConv(2, 8, 16, **character)


@pytest.mark.parametrize("scope", ["layer", "global", "erk"])
def test_the_level_rises_to_the_exact_end(tmp_path, scope):
    task = Task(*pair())
    fit(tmp_path, task, PruneGradually(0.8, begin=0.0, end=0.5, every_n_steps=2, scope=scope))
    total = [sum(int((~mask).sum()) for _, mask in note) for note in task.notes]
    assert total == sorted(total)
    assert total[0] < total[-1]
    sizes = [576, 1152]
    assert abs(total[-1] - sum(n - round(0.2 * n) for n in sizes)) <= 1
    shares = [int((~mask).sum()) / n for (_, mask), n in zip(task.notes[-1], sizes, strict=True)]
    assert (max(shares) - min(shares) < 0.002) == (scope == "layer")


def test_the_level_follows_the_cubic_law():
    schedule = PruneGradually(0.9, begin=0.2, end=0.6)
    assert [round(schedule.level(t), 6) for t in (0.0, 0.2, 0.4, 0.6, 1.0)] == [0, 0, 0.7875, 0.9, 0.9]


def test_a_schedule_that_ends_between_updates_still_ends_at_its_level(tmp_path):
    task = Task(*pair())
    fit(tmp_path, task, PruneGradually(0.5, begin=0.0, end=1.0, every_n_steps=7))
    assert [int((~m.mask).sum()) for m in task.net] == [288, 576]


@pytest.mark.parametrize("growth", ["gradient", "random"])
@pytest.mark.parametrize("optimiser", ["AdamW", "SGD"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_regrowth_moves_weights_and_keeps_their_number(tmp_path, growth, optimiser, accumulate):
    task = Task(*pair(sparsity=0.7), optimiser=optimiser)
    start = [m.mask.clone() for m in task.net]
    fit(tmp_path, task, RegrowWeights(growth, every_n_steps=2, end=1.0), accumulate_grad_batches=accumulate)
    for note in task.notes:
        assert [int(mask.sum()) for _, mask in note] == [round(0.3 * 576), round(0.3 * 1152)]
    assert all(not torch.equal(a, m.mask) for a, m in zip(start, task.net, strict=True))
    assert not any(m.asks_dense_gradient for m in task.net)


def test_weights_grow_where_the_dense_gradient_is_largest():
    torch.manual_seed(0)
    layer = SparseConv(2, 8, 8, sparsity=0.5)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(3):
        layer(torch.randn(2, 8, 5, 5)).square().mean().backward()
        optimiser.step()
    optimiser.zero_grad()
    layer.asks_dense_gradient = True
    layer(torch.randn(2, 8, 5, 5)).square().mean().backward()
    before, gradient = layer.mask.clone(), layer.weight.grad.clone()
    assert (gradient[~before] != 0).all(), "the dense gradient reaches masked weights"
    exchange(layer, gradient.abs(), 0.25, optimiser)
    grown, state = layer.mask & ~before, optimiser.state[layer.weight]
    assert int(grown.sum()) > 0
    assert (layer.weight[grown] == 0).all()
    assert (state["exp_avg"][grown] == 0).all()
    torch.testing.assert_close(state["exp_avg_sq"][grown], gradient[grown].square())
    left = ~layer.mask & ~before
    assert gradient[grown].abs().min() >= gradient[left].abs().max()
    optimiser.step()
    assert layer.weight[grown].abs().max() <= 0.01, "the first step is no larger than the learning rate"


def test_group_lasso_makes_weak_channels_exactly_zero(tmp_path):
    layer = SparseConv(2, 8, 8, pattern="channels", sparsity=0.0)
    with torch.no_grad():
        layer.weight[:4].mul_(1e-3)
    task = Task(layer, optimiser="SGD")
    fit(tmp_path, task, GroupLasso(strength=0.2))
    norms = layer.weight.flatten(1).norm(dim=1)
    assert 0 < int((norms == 0).sum()) < 8


def test_the_proximal_step_minimises_its_penalty():
    torch.manual_seed(0)
    before = torch.randn(3, 4, 3, 3, dtype=torch.float64)
    after = before.clone()
    shrink_channels(after, 0.05)

    def objective(weight):
        return 0.5 * (weight - before).square().sum() + 0.05 * 6 * weight.flatten(1).norm(dim=1).sum()

    least = objective(after)
    assert all(objective(after + 0.01 * torch.randn_like(after)) > least for _ in range(20))


def test_temperature_falls_over_the_first_epochs_and_stays(tmp_path):
    seen = []

    class Note(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(pl_module.net[0].temperature.item())

    fit(tmp_path, Task(DynamicConv(2, 8, 8)), TemperatureSchedule(30, 1, epochs=2), Note(), epochs=4)
    assert seen == [30, 15.5, 1, 1]


@pytest.mark.parametrize("gradient", ["masked", "straight_through"])
def test_regrowth_that_asks_for_another_gradient_has_steps_run_one_by_one(tmp_path, gradient):
    task, reasons = Task(*pair(sparsity=0.7, gradient=gradient)), []
    task.refuse_recording = reasons.append
    fit(tmp_path, task, RegrowWeights(every_n_steps=2))
    assert reasons == (
        ["RegrowWeights asks for the dense gradient now and then"] if gradient == "masked" else []
    )


def test_temperature_of_another_operator(tmp_path):
    soft, schedule = MorphologicalConv(2, 8, 8), TemperatureSchedule(0.2, 0.1, 1, "MorphologicalConv")
    fit(tmp_path, Task(soft), schedule, epochs=2)
    assert soft.temperature.item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("callback", "text"),
    [
        (PruneGradually(), "expected SparseConv layers whose level can rise, got none"),
        (RegrowWeights(), "expected sparse SparseConv layers with the pattern 'magnitude', got none"),
        (GroupLasso(), "expected SparseConv layers with the pattern 'channels', got none"),
        (TemperatureSchedule(), "expected DynamicConv layers with a temperature, got none"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, pl.Callback) else "",
)
def test_a_network_without_its_layers_is_refused(tmp_path, callback, text):
    with pytest.raises(ConfigError, match=text):
        fit(tmp_path, Task(StandardConv(2, 8, 8)), callback)


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="expected sparsity from 0 up to, not including, 1"):
        PruneGradually(1.0)
    with pytest.raises(ConfigError, match=r"expected 0 <= begin < end <= 1.*got begin 0.5, end 0.5"):
        PruneGradually(begin=0.5, end=0.5)
    with pytest.raises(ConfigError, match=r"expected growth 'gradient' or 'random'.*got growth 'all'"):
        RegrowWeights("all")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a strength of at least 0, got -1"):
        GroupLasso(-1)
    with pytest.raises(ConfigError, match="expected positive temperatures and at least 1 epoch, got start 0"):
        TemperatureSchedule(start=0)
