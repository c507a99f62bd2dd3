"""Which memory holds the training cases is a law of bytes."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medconv.datamodules.tiers import DEVICE_SHARE, RAM_SHARE, Footprint, Room, choose_tier
from medconv.errors import ConfigError

CASES = Footprint(voxels=1000, channels=2, label_bytes=1)
FULL, HALF = 9000, 5000


def room(device_bytes, ram_bytes, device="cuda:0"):
    return Room(device, device_bytes, ram_bytes)


@pytest.mark.parametrize(
    ("device_bytes", "ram_bytes", "place", "image_type"),
    [
        (4 * FULL, 0, "device", torch.float32),
        (4 * FULL - 4, 10**9, "device", torch.float16),
        (4 * HALF, 10**9, "device", torch.float16),
        (4 * HALF - 4, 2 * FULL, "ram", torch.float32),
        (4 * HALF - 4, 2 * FULL - 2, "ram", torch.float16),
        (0, 2 * HALF, "ram", torch.float16),
        (0, 2 * HALF - 2, "disk", torch.float32),
        (None, None, "disk", torch.float32),
    ],
)
def test_the_first_place_with_room_is_chosen(device_bytes, ram_bytes, place, image_type):
    tier = choose_tier(CASES, room(device_bytes, ram_bytes))
    assert (tier.place, tier.image_type) == (place, image_type)


@given(
    st.integers(1, 10**12),
    st.integers(1, 8),
    st.integers(0, 10**13),
    st.integers(0, 10**13),
    st.booleans(),
    st.sampled_from([torch.float32, torch.int16, torch.uint8]),
)
def test_more_memory_never_leads_to_a_slower_place(voxels, channels, device, ram, may_round, exact):
    cases = Footprint(voxels, channels, 1, exact, may_round)
    order = {"device": 0, "ram": 1, "disk": 2}
    tier = choose_tier(cases, room(device, ram))
    for more in (room(2 * device, ram), room(device, 2 * ram)):
        assert order[choose_tier(cases, more).place] <= order[tier.place]
    limit = {"device": DEVICE_SHARE * device, "ram": RAM_SHARE * ram}
    if tier.place != "disk":
        assert cases.size_bytes(tier.image_type) <= limit[tier.place]
        assert tier.image_type == exact or (may_round and tier.image_type == torch.float16)
    assert may_round or tier.image_type != torch.float16


def test_whole_numbers_are_never_rounded():
    cases = Footprint(1000, 1, 1, torch.uint8, may_round=False)
    assert choose_tier(cases, room(8000, 0)).image_type == torch.uint8
    assert choose_tier(cases, room(7999, 0)).place == "disk"
    assert Footprint(1000, 1, 1, torch.int16).types == (torch.int16,)


def test_a_cpu_reads_from_disk_unless_told_otherwise():
    assert choose_tier(CASES, room(10**9, 10**9, "cpu")).place == "disk"
    for place in ("device", "ram"):
        assert choose_tier(CASES, room(10**9, 10**9, "cpu"), place).place == place


def test_a_place_that_is_named_may_be_filled_whole():
    assert choose_tier(CASES, room(FULL, 0), "device").image_type == torch.float32
    assert choose_tier(CASES, room(FULL - 1, 0), "device").image_type == torch.float16
    assert choose_tier(CASES, room(0, HALF), "ram").image_type == torch.float16
    assert choose_tier(CASES, room(None, None), "ram").image_type == torch.float32
    assert choose_tier(CASES, room(10**9, 10**9), "disk").place == "disk"


def test_a_place_that_does_not_hold_the_cases_is_refused_with_its_bytes():
    big = Footprint(10**9, 1, 1)
    text = (
        "store=device: expected room for all training cases, 5.00 GB as float32 or 3.00 GB as float16, but cuda:0 has "
        "2.00 GB free; set store to auto, ram or disk"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        choose_tier(big, room(2 * 10**9, 0), "device")
    text = (
        "store=ram: expected room for all training cases, 5.00 GB as float32 or 3.00 GB as float16, but main memory "
        "has 1.00 GB free; set store to auto or disk"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}$"):
        choose_tier(big, room(0, 10**9), "ram")


def test_what_was_chosen_is_said_with_its_bytes():
    big = Footprint(10**9, 1, 1)
    rounded = choose_tier(big, room(12 * 10**9, 10**9)).reason
    assert rounded == (
        "3.00 GB as float16 (rounded to 11 bits, 0.05 %: as float32 they would take 5.00 GB), in the memory of cuda:0; "
        "cuda:0 may give 3.00 of 12.00 GB free, main memory 0.50 of 1.00"
    )
    nowhere = choose_tier(big, room(10**9, None)).reason
    assert nowhere == (
        "5.00 GB as float32 or 3.00 GB as float16 fit nowhere else: on disk, mapped into memory; cuda:0 may give 0.25 "
        "of 1.00 GB free, main memory an unknown share"
    )
    assert choose_tier(CASES, room(1, 1, "cpu")).reason == "9e-06 GB as float32, on disk, mapped into memory"
