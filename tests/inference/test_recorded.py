from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoint import save_checkpoint
from torch import Tensor

from medconv.errors import ConfigError
from medconv.inference import Predictor
from medconv.inference import engine as engine_module
from medconv.inference.byte_plan import plan_bytes
from medconv.inference.recorded import CudaRecorder, Forward, RecordedNetwork
from medconv.inference.ways import CPU, Way, gains_by_recording, ways_down
from medconv.io import volume_from_array

NiftiFactory = Callable[..., Path]


class Recorder:
    """Records on a processor as a GPU does: one input and one output, overwritten by each call."""

    def __init__(self) -> None:
        self.recorded: list[tuple[int, ...]] = []
        self.replays = 0

    def __call__(self, forward: Forward, tiles: Tensor) -> Forward:
        self.recorded.append(tuple(tiles.shape))
        given, scores = tiles.clone(), forward(tiles).clone()

        def replay(tiles: Tensor) -> Tensor:
            self.replays += 1
            given.copy_(tiles)
            scores.copy_(forward(given))
            return scores

        return replay


def test_only_a_shape_that_comes_often_is_recorded() -> None:
    recorder = Recorder()
    network = RecordedNetwork(torch.exp, recorder)
    tiles = torch.rand(2, 1, 4)
    for _ in range(4):
        assert torch.equal(network(tiles), tiles.exp())
    assert recorder.recorded == []
    for _ in range(3):
        assert torch.equal(network(tiles), tiles.exp())
    assert (recorder.recorded, recorder.replays) == ([(2, 1, 4)], 3)
    for size in (3, 4, 5, 6, 7):  # at most four shapes keep memory
        for _ in range(9):
            network(torch.rand(size, 1, 4))
    assert recorder.recorded == [(size, 1, 4) for size in (2, 3, 4, 5)]


def test_what_was_handed_out_stays() -> None:
    network = RecordedNetwork(torch.exp, Recorder())
    tiles = [torch.full((1, 1, 4), float(n)) for n in range(12)]
    scores = [network(tile) for tile in tiles]
    assert all(torch.equal(score, tile.exp()) for score, tile in zip(scores, tiles, strict=True))


def test_threads_do_not_disturb_each_other() -> None:
    recorder = Recorder()
    network = RecordedNetwork(torch.exp, recorder)
    meet = threading.Barrier(4)

    def ask(number: int) -> bool:
        meet.wait()
        tile = torch.full((1, 1, 999), float(number % 7))
        return all(torch.equal(network(tile), tile.exp()) for _ in range(50))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, range(4)))
    assert recorder.recorded == [(1, 1, 999)]
    assert recorder.replays == 4 * 50 - 4


def test_a_pass_that_cannot_be_recorded_is_told_once_and_goes_on() -> None:
    def refuse(forward: Forward, tiles: Tensor) -> Forward:
        raise RuntimeError("operation not permitted\nwhen capturing")

    network = RecordedNetwork(torch.exp, refuse)
    tiles = torch.rand(1, 1, 4)
    text = r"the network's pass cannot be recorded \(operation not permitted\); it goes on as without"
    with pytest.warns(UserWarning, match=text):
        scores = [network(tiles) for _ in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores += [network(tiles) for _ in range(5)]
    assert all(torch.equal(score, tiles.exp()) for score in scores)


def test_nobody_is_told_of_recordings_that_nobody_asked_for() -> None:
    def refuse(forward: Forward, tiles: Tensor) -> Forward:
        raise RuntimeError("operation not permitted")

    network = RecordedNetwork(torch.exp, refuse, is_wanted=False)
    tiles = torch.rand(1, 1, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(torch.equal(network(tiles), tiles.exp()) for _ in range(9))


def test_on_a_processor_nothing_is_recorded() -> None:
    tiles = torch.rand(1, 1, 4)
    assert CudaRecorder()(torch.exp, tiles) is None
    network = RecordedNetwork(torch.exp)
    assert all(torch.equal(network(tiles), tiles.exp()) for _ in range(9))


def test_recordings_are_forgotten_where_memory_is_short() -> None:
    recorder = Recorder()
    network = RecordedNetwork(torch.exp, recorder)
    for _ in range(6):
        network(torch.rand(1, 1, 4))
    network.forget()
    for _ in range(6):
        network(torch.rand(1, 1, 4))
    assert (len(recorder.recorded), recorder.replays) == (1, 2)


@pytest.fixture
def scan(tiny_nifti: NiftiFactory, rng: np.random.Generator) -> Path:
    return tiny_nifti("scan.nii.gz", rng.normal(100, 20, (40, 30, 20)).astype(np.float32))


@pytest.mark.slow
def test_replayed_tiles_give_the_same_labels(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt")
    plain = Predictor.from_checkpoint(path, device="cpu").predict(scan, probabilities=True)
    recorder = Recorder()
    monkeypatch.setattr(
        engine_module, "RecordedNetwork", lambda forward, **_: RecordedNetwork(forward, recorder)
    )
    replayed = Predictor.from_checkpoint(path, device="cpu", cuda_graph=True).predict(
        scan, probabilities=True
    )
    assert recorder.replays > 0
    assert np.array_equal(replayed.labels, plain.labels)
    assert np.array_equal(replayed.probabilities, plain.probabilities)


def test_recordings_count_in_the_plan_of_a_gpu(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt")
    card = torch.device("cuda", 0)
    found = []
    for cuda_graph in (False, True):
        predictor = Predictor.from_checkpoint(path, device="cpu", cuda_graph=cuda_graph)
        engine, spacing_mm = predictor.engine, predictor.plan.spacing_mm
        volume = volume_from_array(np.zeros((20, 20, 20)), spacing_mm)
        record = engine.preprocessor.record(volume)
        size = replace(engine.case_size(record, 1, CPU), tile_bytes=(1000,))
        assert engine.may_record == cuda_graph
        ways = [Way(card, card, 4, is_recorded=cuda_graph), Way(card, CPU, 4)]
        plans = [plan_bytes(size, way, recorded_bytes=engine.recorded_bytes(size, way)) for way in ways]
        found.append([plan.device_bytes for plan in plans])
    (plain, plain_apart), (recorded, apart) = found
    assert recorded - plain == pytest.approx(1.1 * 2 * 4 * 1000, abs=2)
    assert apart == plain_apart  # there nothing is recorded


def test_recordings_are_given_up_before_batches_are_halved() -> None:
    ways = ways_down(torch.device("cuda", 0), 8, is_recorded=True)
    assert [(way.tile_batch, way.is_recorded) for way in ways][:3] == [(8, True), (8, False), (4, False)]
    assert ways[1:] == ways_down(torch.device("cuda", 0), 8)


def test_recordings_that_are_made_hold_their_memory_already(tmp_path: Path) -> None:
    way = Way(torch.device("cuda", 0), torch.device("cuda", 0), 4, is_recorded=True)
    engine = Predictor.from_checkpoint(save_checkpoint(tmp_path / "best.ckpt"), device="cpu").engine
    record = engine.preprocessor.record(volume_from_array(np.zeros((20, 20, 20)), (1.0, 1.0, 1.0)))
    size = engine.case_size(record, 1, CPU)
    before, after = (plan_bytes(size, way, recorded_bytes=10**9, has_recorded=it) for it in (False, True))
    assert before.device_bytes == after.device_bytes
    assert (before.held_bytes[1], after.held_bytes[1]) == (0, 10**9)


def test_small_tiles_on_a_gpu_are_recorded_unasked(tmp_path: Path) -> None:
    gpu = torch.device("cuda")
    assert gains_by_recording((64, 64, 64), gpu)
    assert not gains_by_recording((65, 64, 64), gpu)
    assert not gains_by_recording((8, 8), CPU)
    path = save_checkpoint(tmp_path / "best.ckpt")
    assert not Predictor.from_checkpoint(path, device="cpu").engine._recorded
    with pytest.raises(ConfigError, match="expected cuda_graph of True, False or 'auto', got 'on'"):
        Predictor.from_checkpoint(path, device="cpu", cuda_graph="on")


@pytest.mark.gpu
def test_recordings_of_several_shapes_share_memory_and_disturb_nobody() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3, padding=1)]
    plain = torch.nn.Sequential(*layers).cuda().eval()
    network = RecordedNetwork(plain)
    with torch.inference_mode():
        tiles = [torch.rand(1 + n % 4, 1, 32 + 16 * (n % 2), 32, device="cuda") for n in range(40)]
        found = [network(tile) for tile in tiles]
        assert len(network._recordings) == 4
        for tile, scores in zip(tiles, found, strict=True):
            torch.testing.assert_close(scores, plain(tile))


@pytest.mark.gpu
def test_a_recording_that_fails_leaves_the_stream_as_it_was() -> None:
    def forward(tiles: Tensor) -> Tensor:
        return tiles * float(tiles.max())  # asks the device for a value

    network, before = RecordedNetwork(forward, is_wanted=False), torch.cuda.current_stream()
    tiles = torch.rand(2, 1, 8, 8, device="cuda")
    expected = forward(tiles)
    for _ in range(9):
        assert torch.equal(network(tiles), expected)
        assert torch.cuda.current_stream() == before
    assert not network._recordings


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_recording_on_a_gpu_gives_the_same_labels(scan: Path, tmp_path: Path, precision: str) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt")
    options = {"device": "cuda", "precision": precision, "mirror": True}
    plain = Predictor.from_checkpoint(path, **options).predict(scan, probabilities=True)
    predictor = Predictor.from_checkpoint(path, cuda_graph=True, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replayed = predictor.predict(scan, probabilities=True)
        again = predictor.predict(scan)
    assert predictor.engine._recorded[0]._recordings
    assert np.array_equal(replayed.labels, plain.labels)
    assert np.array_equal(again.labels, plain.labels)
    np.testing.assert_allclose(replayed.probabilities, plain.probabilities, atol=1e-6)
