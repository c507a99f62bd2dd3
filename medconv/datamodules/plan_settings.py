"""What a configuration says about planning, and how it goes together with a plan file."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from medconv.errors import ConfigError
from medconv.io import Case, Dataset
from medconv.planning import DatasetIdentity, InstanceTarget, Plan, Proposal, Wishes, propose, read_headers
from medconv.planning.reasons import GIVEN

_LOG = logging.getLogger("medconv")
_ANY_MEMORY_GB = 9_999.0
_THREADS = 8


@dataclass(frozen=True)
class PlanSettings:
    """Settings of a data module; ``"auto"`` and ``"median"`` leave a value to the plan.

    Args:
        spacing_mm: Voxel edge lengths.
        patch_size: Voxels of a patch.
        batch_size: Patches in a batch.
        normalization: One entry a channel.
        instances: How numbered objects are taught; ``None``: the plan's way. What they are is for the dataset to say.

    Raises:
        ConfigError: A name for the objects.
    """

    spacing_mm: Literal["median"] | Sequence[float]
    patch_size: Literal["auto"] | Sequence[int]
    batch_size: Literal["auto"] | int
    normalization: Literal["auto"] | Sequence[str]
    instances: InstanceTarget | None = None

    def __post_init__(self) -> None:
        if self.instances is not None and self.instances.name != InstanceTarget().name:
            raise ConfigError(
                f"instances.name: what objects are called is for label_names to say; leave it out, and give "
                f"label_names=[{self.instances.name}]"
            )

    def propose(self, dataset: Dataset) -> Proposal:
        """Plan now, from headers and voxels; of microscopy from headers alone.

        A patch and a batch that are both given are taken as they are: the user knows the device.
        """
        given = self.patch_size != "auto" and self.batch_size != "auto"
        wishes = Wishes(
            spacing_mm=None if self.spacing_mm == "median" else self.spacing_mm,
            patch_size=None if self.patch_size == "auto" else self.patch_size,
            normalization=None if self.normalization == "auto" else self.normalization,
            instances=self.instances,
        )
        if given:
            wishes = replace(wishes, memory_gb=_ANY_MEMORY_GB)
        threads = min(_THREADS, os.cpu_count() or 1)
        return propose(dataset, wishes, voxels="needed", watch=_show_progress, threads=threads)

    def require_target_of(self, plan: Plan, path: Path) -> None:
        """Refuse another way to teach objects than that of a plan file.

        Raises:
            ConfigError: They differ.
        """
        given, planned = self.instances, plan.instances
        if given is None or (planned is not None and replace(given, name=planned.name) == planned):
            return
        said = planned.to_dict() if planned else "that its label maps hold labels"
        raise ConfigError(
            f"instances={given.to_dict()} contradicts {path}, which says {said}; leave instances out, or plan again"
        )


def _show_progress(cases: Iterable[Case]) -> Iterator[Case]:
    yield from tqdm(cases, "planning", leave=False, file=sys.stderr, disable=None)


def load_proposal(path: Path, dataset: Dataset, settings: PlanSettings, replan: str) -> Proposal:
    """Read a plan file for a dataset; a patch of the user's own wins over it.

    Args:
        path: Written by ``medconv plan``.
        dataset: Whose plan it must be.
        settings: Of the data module.
        replan: The command that plans this dataset again, for messages.

    Raises:
        ConfigError: The file cannot be used, or a setting contradicts it.
        DatasetError: It is the plan of another dataset.
        BadCasesError: Cases that cannot be used.
    """
    proposal = Proposal.load(path)
    plan, headers = proposal.plan, read_headers(dataset)
    declared = plan.declared
    as_planned = replace(
        dataset,
        label_names=declared.names,
        regions=declared.regions,
        regions_class_order=declared.regions_class_order,
        ignore_label=declared.ignore_label,
        instances=declared.instances,
    )
    proposal.dataset.require(
        DatasetIdentity.of(dataset, headers),
        str(path),
        replan,
        only_label_rules_differ=DatasetIdentity.of(as_planned, headers).digest == proposal.dataset.digest,
    )
    for name, given, default, planned in (
        ("spacing_mm", settings.spacing_mm, "median", plan.spacing_mm),
        ("normalization", settings.normalization, "auto", plan.normalization),
    ):
        if given != default and list(given) != list(planned):
            raise ConfigError(
                f"{name}={list(given)} contradicts {path}, which says {list(planned)}; set {name} to {default}, or "
                f"plan again with another one"
            )
    settings.require_target_of(plan, path)
    for name in ("patch_size", "batch_size"):
        if (own_value := getattr(settings, name)) != "auto":
            _LOG.info("%s=%s of the configuration wins over %s", name, own_value, path)
    if settings.patch_size == "auto":
        return proposal
    own = replace(plan, patch_size=tuple(settings.patch_size))
    return replace(proposal, plan=own, reasons={**proposal.reasons, "plan.patch_size": GIVEN})
