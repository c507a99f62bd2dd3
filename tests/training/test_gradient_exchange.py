"""Processes that average the gradients of a recorded step in one call train as distributed training does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from medconv.training.gradient_exchange import FlatGradients, exchange_for

TWO_PROCESSES = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {tests!r})
from test_gradient_exchange import in_one_of_two_processes
in_one_of_two_processes(int(sys.argv[1]), {store!r})
"""


def test_flat_gradients_lie_as_their_parameters_do():
    conv = nn.Conv3d(4, 3, 3).to(memory_format=torch.channels_last_3d)
    parameters = [*conv.parameters(), nn.Parameter(torch.zeros(()))]
    flat = FlatGradients(parameters)
    given = [torch.rand(p.shape) for p in parameters]  # the kernel's lies otherwise
    assert [g.stride() == p.stride() for g, p in zip(given, parameters, strict=True)] == [False, True, True]
    flat.fill(given)
    assert flat.all.numel() == sum(p.numel() for p in parameters)
    for view, p, g in zip(flat.each, parameters, given, strict=True):
        assert view.stride() == p.stride()
        torch.testing.assert_close(view, g, rtol=0, atol=0)
    flat.all.mul_(2)
    torch.testing.assert_close(flat.each[0], 2 * given[0])


def test_gradients_that_are_missing_or_all_lie_otherwise():
    flat = FlatGradients([nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2))])
    flat.fill([None, None])
    assert not flat.all.any()
    flat.fill([torch.arange(6.0).reshape(3, 2).T, None])
    assert flat.all.tolist() == [0, 2, 4, 1, 3, 5, 0, 0]


def test_without_a_wrapper_there_is_nobody_to_replace():
    assert exchange_for(None) is None
    assert exchange_for(nn.Linear(1, 1)) is None


def shrink(state, bucket):
    raise AssertionError(f"{state}, {bucket}: no step is made")


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"static_graph": True}, None),
        ({}, lambda wrapper: wrapper.register_comm_hook(None, shrink)),
        ({}, lambda wrapper: wrapper.parameters_to_ignore.add("weight")),
        ({}, lambda wrapper: wrapper.requires_grad_(False)),
    ],
)
def test_a_wrapper_that_does_more_than_average_is_not_replaced(alone, settings, change):
    network = nn.Conv2d(2, 2, 3)
    assert exchange_for(nn.parallel.DistributedDataParallel(network)) is not None
    wrapper = nn.parallel.DistributedDataParallel(network, **settings)
    if change is not None:
        change(wrapper)
    assert exchange_for(wrapper) is None


@pytest.mark.slow
def test_two_processes_train_as_with_the_wrapper_alone(tmp_path):
    code = TWO_PROCESSES.format(tests=str(Path(__file__).parent), store=str(tmp_path / "store"))
    ranks = [subprocess.Popen([sys.executable, "-c", code, str(rank)]) for rank in range(2)]
    assert [rank.wait(120) for rank in ranks] == [0, 0]


def in_one_of_two_processes(rank, store):
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from medconv.training import recorded_loss

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    counted = Counted(dist)
    for make in (plain, with_statistics):
        recorded_loss.GraphedStep = on_a_processor(recorded_loss.GraphedStep)
        ends = []
        for wanted in (False, True):
            torch.manual_seed(1)
            network = make()
            loss = recorded_loss.RecordedLoss(
                lambda image, label, network=network: (network(image) - label).square().mean(),
                network,
                wanted,
            )
            loss.prepare(on_gpu=True, precision="bf16-mixed")
            wrapper = DistributedDataParallel(Task(network, loss))
            loss.exchange_over(wrapper)
            before = counted.calls
            ends.append(train(wrapper, loss, network, rank))
            exchanged = counted.calls - before
            # one question after the recording, then once a batch, also where one has another size than its fellow's
            assert exchanged == (0 if not wanted else 1 if make is with_statistics else 1 + 7)
        for expected, found in zip(*ends, strict=True):
            torch.testing.assert_close(found, expected)
    dist.destroy_process_group()


def train(wrapper, loss, network, rank):
    """Steps of different batches; in the third, gradients of two are gathered; the last differ in size."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(10 + rank)
    for step in range(6):
        optimizer.zero_grad()
        if step == 3:
            loss.begin_step()
            with wrapper.no_sync():
                wrapper(*batch(4)).backward()
        loss.begin_step()
        wrapper(*batch(4 + (step == 5 and rank))).backward()
        optimizer.step()
    loss.forget()
    assert wrapper.require_backward_grad_sync
    return [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]


def batch(size):
    return torch.rand(size, 3), torch.rand(size, 2)


def plain():
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def with_statistics():
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


class Task(nn.Module):
    def __init__(self, network, loss):
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, image, label):
        return self.loss(image, label)


class Counted:
    """Counts the calls by which tensors are summed, but not those of the wrapper, which are made elsewhere."""

    def __init__(self, dist):
        self.calls, self._all_reduce = 0, dist.all_reduce
        dist.all_reduce = self

    def __call__(self, *args, **options):
        self.calls += 1
        return self._all_reduce(*args, **options)


def on_a_processor(graphed_step):
    """Recording as a GPU does it: the numbers of a replay lie where those of the recording lay."""

    class Replayed(graphed_step):
        def _record(self, step, device):
            def replay():
                loss, gradients = step()
                self._loss.copy_(loss)
                for kept, g in zip(self._gradients, gradients, strict=True):
                    kept.copy_(g)

            self._loss, self._gradients = step()
            self._graph = SimpleNamespace(replay=replay)

    return Replayed
