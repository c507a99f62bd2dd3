"""A dataset is planned once, and again as soon as anything that decides about its plan has changed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from medconv.datamodules import planned_once
from medconv.datamodules.plan_settings import PlanSettings
from medconv.datamodules.planned_once import propose_once
from medconv.io import Dataset, discover

AUTO = PlanSettings("median", "auto", "auto", "auto")


@pytest.fixture
def dataset(tiny_dataset: Path, tmp_path: Path) -> Dataset:
    shutil.copytree(tiny_dataset, tmp_path / "data")
    return discover(tmp_path / "data")


@pytest.fixture
def plannings(monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """Of what a plan was made."""
    made, propose = [], PlanSettings.propose

    def counted(settings: PlanSettings, dataset: Dataset):  # type: ignore[no-untyped-def]
        made.append(dataset)
        return propose(settings, dataset)

    monkeypatch.setattr(planned_once.PlanSettings, "propose", counted)
    return made


def test_the_second_time_gives_the_same_plan_without_reading(
    dataset: Dataset, plannings: list[Dataset], tmp_path: Path
) -> None:
    first, second = (propose_once(dataset, AUTO, tmp_path / "cache") for _ in range(2))
    assert first == second == AUTO.propose(dataset)
    assert len(plannings) == 2  # the other is the one above


def test_a_changed_file_setting_or_label_is_planned_anew(
    dataset: Dataset, plannings: list[Dataset], tmp_path: Path
) -> None:
    propose_once(dataset, AUTO, tmp_path / "cache")
    propose_once(dataset, replace(AUTO, spacing_mm=(1.0, 1.0, 2.5)), tmp_path / "cache")
    renamed = {value: f"other_{name}" if value else name for value, name in dataset.label_names.items()}
    propose_once(replace(dataset, label_names=renamed), AUTO, tmp_path / "cache")
    propose_once(replace(dataset, cases=dataset.cases[1:]), AUTO, tmp_path / "cache")
    os.utime(dataset.cases[0].images[0], ns=(1, 1))
    propose_once(dataset, AUTO, tmp_path / "cache")
    assert len(plannings) == 5


def test_a_damaged_plan_is_made_again(dataset: Dataset, plannings: list[Dataset], tmp_path: Path) -> None:
    first = propose_once(dataset, AUTO, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text(kept.read_text()[:100])
    assert propose_once(dataset, AUTO, tmp_path / "cache") == first
    assert propose_once(dataset, AUTO, tmp_path / "cache") == first
    assert len(plannings) == 2


def test_a_folder_that_cannot_be_written_only_costs_time(
    dataset: Dataset, plannings: list[Dataset], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert propose_once(dataset, AUTO, tmp_path / "file") == propose_once(dataset, AUTO, tmp_path / "file")
    assert len(plannings) == 2
