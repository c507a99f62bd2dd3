from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medconv.errors import MedconvError
from medconv.inference.activation_peak import activation_peak_bytes
from medconv.inference.byte_plan import GIB, BytePlan, CaseSize, plan_bytes
from medconv.inference.memory import within_limits
from medconv.inference.pipeline import WritingRoom
from medconv.inference.ways import Way, ways_down
from medconv.models import UNet

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
MIB = 2**20


def case(
    shape: tuple[int, int, int], work: tuple[int, int, int] | None = None, classes: int = 15
) -> CaseSize:
    return CaseSize(1, shape, work or shape, shape, classes, ((128, 128, 128),), (2 * GIB,))


def test_a_large_volume_of_many_classes_fits_a_small_host() -> None:
    plan = plan_bytes(case((1024, 1024, 1024)), Way(CPU, CPU, 1), held_bytes=GIB // 2)
    scores = 15 * 1024**3 * 4
    assert scores == 60 * GIB
    assert plan.host_bytes < 24 * GIB
    assert plan.device_bytes == 0


def test_the_benchmark_fits_four_gib_of_host_memory_on_a_gpu() -> None:
    volume = case((512, 512, 256), (410, 410, 384))
    plan = plan_bytes(volume, Way(GPU, GPU, 4), held_bytes=2 * GIB, overlapped=True)
    assert plan.host_bytes < 4 * GIB
    assert plan.device_bytes < 16 * GIB


def test_each_step_down_takes_less_of_the_device() -> None:
    ways = ways_down(GPU, 4)
    assert [(w.device.type, w.gather.type, w.tile_batch) for w in ways] == [
        ("cuda", "cuda", 4), ("cuda", "cpu", 4), ("cuda", "cpu", 2), ("cuda", "cpu", 1), ("cpu", "cpu", 1),
    ]  # fmt: skip
    many = ways_down(GPU, 16)
    assert [(w.device.type, w.gather.type, w.tile_batch) for w in many] == [
        ("cuda", "cuda", 16), ("cuda", "cuda", 8), *((w.device.type, w.gather.type, w.tile_batch) for w in ways),
    ]  # fmt: skip
    assert [way.tile_batch for way in ways_down(GPU, 2)] == [2, 2, 1, 1]
    for ladder in (ways, many):
        device = [plan_bytes(case((512, 512, 512)), way).device_bytes for way in ladder]
        assert device == sorted(device, reverse=True)
    assert device[-1] == 0


def test_cleaning_is_planned_for_beside_the_case_that_is_computed_meanwhile() -> None:
    volume, way = case((256, 256, 256)), Way(CPU, CPU, 1)

    def grows_by(*, overlapped: bool) -> int:
        plans = [plan_bytes(volume, way, is_cleaned=is_it, overlapped=overlapped) for is_it in (False, True)]
        return plans[1].host_bytes - plans[0].host_bytes

    voxels = 256**3
    # numbered (16 bytes a voxel) where a third copy of the labels would be; networks compute in more than that
    assert grows_by(overlapped=True) == pytest.approx(1.1 * 15 * voxels, abs=2)
    assert grows_by(overlapped=False) == 0


def test_all_that_are_written_at_once_are_planned_for() -> None:
    way = Way(CPU, CPU, 1)

    def host_bytes(size: int, room: WritingRoom) -> int:
        return plan_bytes(case((size, size, size)), way, overlapped=True, room=room).host_bytes

    writing = plan_bytes(case((64, 64, 64)), way).writing_bytes
    assert writing >= 64**3 * 5  # the image, and labels
    more = host_bytes(64, WritingRoom(4, 2**28)) - host_bytes(64, WritingRoom())
    assert more == pytest.approx(1.1 * 3 * writing, abs=2)
    large = 400
    assert host_bytes(large, WritingRoom(4, 2**28)) == host_bytes(large, WritingRoom())  # is written alone


def test_more_of_anything_takes_more() -> None:
    way = Way(CPU, CPU, 1)
    base = plan_bytes(case((100, 100, 100)), way)
    for larger in (
        plan_bytes(case((200, 100, 100)), way),
        plan_bytes(case((100, 100, 100), classes=200), way),
        plan_bytes(case((100, 100, 100), (200, 200, 200)), way),
        plan_bytes(case((100, 100, 100)), Way(CPU, CPU, 2)),
        plan_bytes(case((100, 100, 100)), way, held_bytes=1000),
        plan_bytes(case((100, 100, 100)), way, kept_bytes=1000),
        plan_bytes(case((100, 100, 100)), way, overlapped=True),
    ):
        assert larger.host_bytes > base.host_bytes


def test_where_the_scores_are_gathered_there_the_volume_is_prepared() -> None:
    sizes = [CaseSize(1, (n,) * 3, (n // 2,) * 3, (n,) * 3, 2, ((16, 16, 16),), (MIB,)) for n in (128, 512)]
    small, large = (plan_bytes(size, Way(GPU, CPU, 1), weight_bytes=MIB) for size in sizes)
    assert small.device_bytes == large.device_bytes, "a card that computes tiles holds nothing of the volume"
    on_cpu = plan_bytes(sizes[1], Way(CPU, CPU, 1))
    assert large.host_bytes == on_cpu.host_bytes


def test_on_the_way_down_to_the_processor_the_weights_are_copied_to_it() -> None:
    size, way = case((128, 128, 128)), Way(CPU, CPU, 1)
    more = plan_bytes(size, way, weight_bytes=GIB).host_bytes - plan_bytes(size, way).host_bytes
    assert GIB <= more <= 1.2 * GIB
    on_card = Way(GPU, CPU, 1)
    assert plan_bytes(size, on_card, weight_bytes=GIB).host_bytes == plan_bytes(size, on_card).host_bytes


def test_a_plan_in_words() -> None:
    assert str(BytePlan(Way(GPU, CPU, 2), 3 * GIB, 5 * GIB)) == (
        "at most 3.0 GiB of main memory and 5.0 GiB of cuda:0, 2 tiles at a time on cuda:0, scores gathered on the CPU"
    )


def test_the_first_way_within_the_limit_is_taken_and_later_ones_are_not_reckoned() -> None:
    reckoned = []

    def plans():
        for batch, gib in ((4, 9), (2, 5), (1, 3)):
            reckoned.append(batch)
            yield BytePlan(Way(CPU, CPU, batch), gib * GIB)

    assert next(within_limits(plans(), 5)).way.tile_batch == 2
    assert reckoned == [4, 2]


def test_where_none_fits_the_least_is_told() -> None:
    plans = [BytePlan(Way(CPU, CPU, batch), gib * GIB) for batch, gib in ((2, 9), (1, 7))]
    text = r"scan\.nii: expected to need at most 5 GiB of memory, but it takes at most 7\.0 GiB of main memory, one"
    with pytest.raises(MedconvError, match=text):
        list(within_limits(plans, 5, "scan.nii"))


def test_the_memory_that_is_too_small_is_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medconv.inference.memory.free_host_bytes", lambda: 10 * GIB)
    monkeypatch.setattr(
        "medconv.inference.memory.free_device_bytes",
        lambda device: 4 * GIB if device.type == "cuda" else None,
    )
    on_card, on_cpu = BytePlan(Way(GPU, GPU, 4), 2 * GIB, 90 * GIB), BytePlan(Way(CPU, CPU, 1), 12 * GIB)
    text = r"at most 10\.0 more GiB of main memory, but it takes at most 12\.0 GiB of main memory, one tile at a t"
    with pytest.raises(MedconvError, match=text):
        list(within_limits([on_card, on_cpu]))
    with pytest.raises(
        MedconvError, match=r"at most 4\.0 more GiB of cuda:0, but it takes at most 2\.0 GiB of main"
    ):
        list(within_limits([on_card]))


def test_activations_are_those_that_live_at_once() -> None:
    network = torch.nn.Sequential(*(torch.nn.ReLU() for _ in range(50)))
    tile = 8**3 * 4
    assert activation_peak_bytes(network, (1, 1, 8, 8, 8)) <= 3 * tile
    skip = UNet(3, 1, 3, channels=(4, 8)).eval()
    one = activation_peak_bytes(skip, (1, 1, 16, 16, 16))
    assert one >= (4 + 4 + 4 + 4) * 16**3 * 4  # the joined map, and what a convolution lays out anew
    assert activation_peak_bytes(skip, (2, 1, 16, 16, 16)) == 2 * one


def test_shapes_alone_give_the_same_as_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    network = UNet(3, 1, 3, channels=(4, 8), downsample="stride", upsample="transpose").eval()
    passed = activation_peak_bytes(network, (1, 1, 16, 16, 16))
    monkeypatch.setattr("medconv.inference.activation_peak._SMALL_TILE", 0)
    assert activation_peak_bytes(network, (1, 1, 16, 16, 16)) == passed


MEASURE = """
import json, sys, threading, time
import numpy as np, torch
from medconv.inference import Predictor
from medconv.host_memory import resident_bytes
from medconv.io import volume_from_array
from medconv.models import UNet
from medconv.planning import Plan
shape, spacing, classes, clean = json.loads(sys.argv[1])
torch.manual_seed(0)
names = {0: "background", **{n: f"c{n}" for n in range(1, classes)}}
plan = Plan(3, ("CT",), names, (1.0, 1.0, 1.0), (64, 64, 64), ("zscore",))
rules = {}
if clean:
    from medconv.inference import Postprocessing, Rule
    rules = dict(postprocessing=Postprocessing({1: Rule(largest_component=True)}))
network = UNet(3, 1, classes, channels=(8, 8)).eval()
predictor = Predictor([network], [plan], device="cpu", overlap=0.0, tile_batch=1, **rules)
array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
volume = volume_from_array(array, spacing)
del array
announced = predictor.byte_plan(volume.geometry, volume.shape)
peak, done = [0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], resident_bytes())
thread = threading.Thread(target=watch); thread.start()
before = resident_bytes()
prediction = predictor.segment(volume)
done.set(); thread.join()
print(json.dumps([announced.host_bytes, peak[0], before, int(prediction.labels.size)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "spacing", "classes", "clean"),
    [
        ((128, 128, 128), (1.0, 1.0, 1.0), 40, False),
        ((160, 160, 48), (0.8, 0.8, 2.0), 40, False),
        ((112, 112, 60), (2.0, 2.0, 2.0), 2, True),
    ],
)
def test_what_is_taken_stays_within_what_was_announced(shape, spacing, classes, clean) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("the system does not say what a process holds")
    words = json.dumps([shape, spacing, classes, clean])
    out = subprocess.run([sys.executable, "-c", MEASURE, words], capture_output=True, text=True, check=True)
    announced, peak, before, size = json.loads(out.stdout)
    assert size == shape[0] * shape[1] * shape[2]
    print(f"announced {announced / MIB:.0f} MiB, peak {peak / MIB:.0f} MiB, before {before / MIB:.0f} MiB")
    assert before < peak <= announced
    assert announced - before < 3 * (peak - before) + 400 * MIB, "a promise of anything would be none"
