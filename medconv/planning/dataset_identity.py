"""What tells one dataset from another, wherever its files lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from medconv.errors import ConfigError, DatasetError
from medconv.io.cases import Dataset
from medconv.io.nifti import Header
from medconv.planning.bounds import check_integer, check_name

_DIGEST = 16


@dataclass(frozen=True)
class DatasetIdentity:
    """A dataset as its plan remembers it.

    Args:
        name: Of its folder or table; only for people.
        cases: How many there were.
        digest: Of case names, channels, labels, and of shape, spacing and direction of each case; not of where
            files lie, nor of their voxels, which the cache of prepared cases watches.
    """

    name: str
    cases: int
    digest: str

    def __post_init__(self) -> None:
        check_name("dataset.name", self.name)
        check_integer("dataset.cases", self.cases, 1, 10**9)
        check_name("dataset.digest", self.digest)

    @classmethod
    def of(cls, dataset: Dataset, headers: Sequence[Header]) -> DatasetIdentity:
        """The identity of a dataset whose headers were read."""
        declared = dataset.labels
        facts: dict[str, Any] = {
            "channels": list(dataset.channel_names),
            "labels": sorted(dataset.label_names.items()),
            "cases": [
                [
                    case.case_id,
                    list(header.shape),
                    [round(x, 4) for x in header.geometry.affine[:3].ravel().tolist()],
                ]
                for case, header in zip(dataset.cases, headers, strict=True)
            ],
        }
        if declared.regions or declared.ignore_label is not None:
            members = [[name, list(values)] for name, values in declared.regions.items()]
            facts["regions"] = [members, list(declared.regions_class_order), declared.ignore_label]
        if declared.instances:
            facts["instances"] = True
        if dataset.is_microscopy:  # pixels are so small that the affines above are all alike
            sizes = [[header.geometry.unit, *map(_short, header.geometry.spacing_mm)] for header in headers]
            facts["pixels"] = sizes
        text = json.dumps(facts, separators=(",", ":"))
        name = dataset.root.resolve().name or "dataset"
        return cls(name, len(dataset.cases), hashlib.sha256(text.encode()).hexdigest()[:_DIGEST])

    @classmethod
    def from_dict(cls, values: Any) -> DatasetIdentity:
        """The inverse of :meth:`to_dict`."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            raise ConfigError(f"dataset: expected the keys {', '.join(names)}, got {values!r:.200}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def require(
        self, found: DatasetIdentity, where: str, replan: str, *, only_label_rules_differ: bool = False
    ) -> None:
        """Refuse a plan of another dataset.

        Args:
            found: The dataset that is there.
            where: The plan's file, for the message.
            replan: The command that makes a plan of the dataset that is there, for the message.
            only_label_rules_differ: Whether it is known that all else is the same.

        Raises:
            DatasetError: Names, cases, grids, channels or labels differ.
        """
        if self.digest == found.digest:
            return
        if only_label_rules_differ:
            what = "the same cases, but other label names, regions or ignore label"
        elif self.cases != found.cases:
            what = f"{self.cases} cases, not {found.cases}"
        else:
            what = "other case names, grids, channels or labels"
        raise DatasetError(
            f"{where}: expected a plan of this dataset ({found.name}), got one of {self.name!r} with {what}; plan "
            f"again with: {replan}"
        )


def _short(size: float) -> float:
    return float(f"{size:.6g}")
