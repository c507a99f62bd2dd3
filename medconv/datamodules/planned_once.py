"""The plan of a dataset without a plan file: made once, for planning reads every voxel, and found again."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medconv import __version__
from medconv.datamodules.file_state import file_state
from medconv.datamodules.plan_settings import PlanSettings
from medconv.errors import ConfigError
from medconv.io import Dataset
from medconv.planning import Proposal

_LOG = logging.getLogger("medconv")

_SCHEMA = 1
"""To be raised with the rules of planning, as ``CaseCache`` does with those of preparing."""


def propose_once(dataset: Dataset, settings: PlanSettings, folder: str | Path) -> Proposal:
    """Plan, or take the plan that was made of the same files with the same settings.

    A change of path, size or time of any file, of what the dataset declares, of a setting or of a version makes a
    new plan. The folder may be deleted at any time; where it cannot be written, planning happens at every start.

    Args:
        dataset: As discovered.
        settings: Of the data module.
        folder: Where plans are kept, beside prepared cases.

    Raises:
        As ``PlanSettings.propose``.

    Cost:
        The first time one reading of every image; later one look at every file.
    """
    path = Path(folder) / f"plan-{_digest(dataset, settings)}.yaml"
    if path.is_file():
        try:
            return Proposal.load(path)
        except ConfigError as error:
            _LOG.info("planning again, for the kept plan cannot be used: %s", error)
    proposal = settings.propose(dataset)
    try:
        proposal.save(path)
    except OSError as error:
        _LOG.info("the plan is not kept for the next start: %s", error)
    return proposal


def _digest(dataset: Dataset, settings: PlanSettings) -> str:
    facts: dict[str, Any] = {
        "schema": _SCHEMA,
        "versions": [__version__, np.__version__],
        "root": str(dataset.root.resolve()),
        "channels": dataset.channel_names,
        "labels": repr(dataset.labels),
        "settings": asdict(settings),
        "cases": [
            [case.case_id, *map(file_state, (*case.images, case.label)), repr(case.layout)]
            for case in dataset.cases
        ],
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
