"""A plan with what a training needs beside it, and the reason of every value: the file of `medconv plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from medconv import __version__
from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, MedconvError
from medconv.io.atomic import write_text
from medconv.planning.bounds import check_count, check_integer
from medconv.planning.dataset_identity import DatasetIdentity
from medconv.planning.plan import Plan
from medconv.planning.stages import StagePlan

SCHEMA = 1
"""Of the file; another number is another meaning of its keys."""

_MAX_STAGES = 16
_SECTIONS = ("schema", "medconv", "dataset", "plan", "network", "training", "fingerprint", "reasons")
_OPTIONAL = ("fingerprint", "reasons")

S = TypeVar("S")


@dataclass(frozen=True)
class NetworkPlan:
    """What the data decide of a U-Net.

    Args:
        channels: Of each stage, finest first.
        strides: Step to each stage from the one above.
        kernel_sizes: Taps per axis at each stage.
        supervised_outputs: Resolutions at which training compares with the truth, finest first; 1: no deep
            supervision.
    """

    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    supervised_outputs: int

    def __post_init__(self) -> None:
        stages = check_count("network.channels", _rows(self, "channels"), 2, _MAX_STAGES)
        for channels in self.channels:
            check_integer("network.channels", channels, 1, 4096)
        for name, most in (("strides", 8), ("kernel_sizes", 15)):
            rows = _rows(self, name)
            check_count(f"network.{name}", rows, stages, stages)
            object.__setattr__(self, name, tuple(map(tuple, rows)))
            for entry in (entry for row in rows for entry in row):
                check_integer(f"network.{name}", entry, 1, most)
        check_integer("network.supervised_outputs", self.supervised_outputs, 1, stages)

    @property
    def stages(self) -> StagePlan:
        """Strides, kernels and channels as the rules speak of them."""
        return StagePlan(self.strides, self.kernel_sizes, self.channels)


@dataclass(frozen=True)
class TrainingPlan:
    """How long and on how much at a time.

    Args:
        batch_size: Patches in a step.
        steps_per_epoch: Steps between two looks at the validation cases.
        epochs: Of those.
    """

    batch_size: int
    steps_per_epoch: int
    epochs: int

    def __post_init__(self) -> None:
        for entry in fields(self):
            check_integer(f"training.{entry.name}", getattr(self, entry.name), 1, 10**9)


@dataclass(frozen=True)
class Proposal:
    """Everything that a dataset decides.

    Args:
        plan: How volumes are prepared; what a checkpoint carries.
        network: Stages of the U-Net.
        training: Batch and steps.
        dataset: Whose proposal it is.
        reasons: Why each value is as it is, by its place in the file, such as ``"plan.spacing_mm"``.
        fingerprint: What was seen of the dataset, as plain values; for people.
        version: Of medconv, when it was made.

    Raises:
        ConfigError: A value outside its bounds, or a reason for something that is not in the file.
    """

    plan: Plan
    network: NetworkPlan
    training: TrainingPlan
    dataset: DatasetIdentity
    reasons: Mapping[str, str] = field(default_factory=dict, hash=False)
    fingerprint: Mapping[str, Any] = field(default_factory=dict, hash=False)
    version: str = __version__

    def __post_init__(self) -> None:
        for stride in self.network.strides:
            check_count("network.strides", stride, self.plan.spatial_dims, self.plan.spatial_dims)
        known = self.places()
        for place, reason in self.reasons.items():
            if place not in known:
                raise ConfigError(f"reasons: nothing is called {place!r}{did_you_mean(str(place), known)}")
            if not isinstance(reason, str):
                raise ConfigError(f"reasons.{place}: expected a sentence, got {reason!r}")

    def places(self) -> list[str]:
        """What a reason can be given for: every value of plan, network and training."""
        values = self.to_dict()
        return [f"{name}.{key}" for name in ("plan", "network", "training") for key in values[name]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in the file."""
        return {
            "schema": SCHEMA,
            "medconv": self.version,
            "dataset": self.dataset.to_dict(),
            "plan": self.plan.to_dict(),
            "network": _plain(asdict(self.network)),
            "training": asdict(self.training),
            "fingerprint": _plain(dict(self.fingerprint)),
            "reasons": dict(self.reasons),
        }

    @classmethod
    def from_dict(cls, values: Any) -> Proposal:
        """The inverse of :meth:`to_dict`; every value is checked, nothing is ignored.

        Raises:
            ConfigError: Another schema, unknown or missing keys, or values out of their bounds.
        """
        if not isinstance(values, Mapping) or "schema" not in values:
            raise ConfigError("expected a plan as medconv plan writes it, got no 'schema' in it; plan again")
        if values["schema"] != SCHEMA:
            raise ConfigError(
                f"expected a plan of schema {SCHEMA}, got {values['schema']!r}, written by medconv "
                f"{values.get('medconv')!r}; this is medconv {__version__}: plan again"
            )
        _check_keys("plan file", values, _SECTIONS, _OPTIONAL)
        return cls(
            Plan.from_dict(values["plan"]),
            _section(NetworkPlan, "network", values["network"]),
            _section(TrainingPlan, "training", values["training"]),
            DatasetIdentity.from_dict(values["dataset"]),
            _mapping("reasons", values.get("reasons") or {}),
            _mapping("fingerprint", values.get("fingerprint") or {}),
            str(values["medconv"]),
        )

    def to_yaml(self) -> str:
        """The text of the file; the reasons last, one line each."""
        head = (
            "# Written by medconv plan; `reasons` says why each value is as it is. fit takes all of `plan`, the\n"
            "# batch_size of `training`, and strides and kernel_sizes of `network` where a network of as many stages\n"
            "# leaves them open; a patch_size or batch_size of the configuration wins. Channels, supervised_outputs,\n"
            "# steps_per_epoch and epochs are set in the configuration (medconv plan --fit-config writes one);\n"
            "# fit does not take them from here.\n"
            "# Train with it: medconv fit --config NAME --data.init_args.root DATASET --data.init_args.plan THIS_FILE\n"
        )
        values = self.to_dict()
        options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 110}
        parts = [yaml.safe_dump({k: values[k] for k in _SECTIONS[:2]}, **options)]
        parts += [yaml.safe_dump({k: values[k]}, default_flow_style=None, **options) for k in _SECTIONS[2:-1]]
        options["width"] = 10_000
        return head + "".join([*parts, yaml.safe_dump({"reasons": values["reasons"]}, **options)])

    @classmethod
    def from_yaml(cls, text: str) -> Proposal:
        """The inverse of :meth:`to_yaml`.

        Raises:
            ConfigError: Not YAML, or as :meth:`from_dict`.
        """
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"not valid YAML ({' '.join(str(error).split())}); correct the line named"
            ) from error
        return cls.from_dict(values)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        write_text(path, self.to_yaml())

    @classmethod
    def load(cls, path: str | Path) -> Proposal:
        """Read a file.

        Raises:
            ConfigError: It cannot be read, or as :meth:`from_yaml`; the text names the file.
        """
        try:
            return cls.from_yaml(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, MedconvError) as error:
            raise ConfigError(f"{path}: {error}") from error


def _section(kind: type[S], name: str, values: Any) -> S:
    names = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    _check_keys(name, values, names)
    return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


def _check_keys(name: str, values: Any, known: Any, optional: tuple[str, ...] = ()) -> None:
    for key in _mapping(name, values):
        if key not in known:
            raise ConfigError(
                f"{name}: unknown key {key!r}{did_you_mean(str(key), known)}. All: {', '.join(known)}"
            )
    missing = [key for key in known if key not in values and key not in optional]
    if missing:
        raise ConfigError(f"{name}: expected all of {', '.join(known)}; missing: {', '.join(missing)}")


def _mapping(name: str, values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name}: expected a mapping, got {type(values).__name__}")
    return values


def _rows(network: NetworkPlan, name: str) -> Any:
    rows = getattr(network, name)
    inner = rows if name != "channels" else ()
    if not isinstance(rows, list | tuple) or not all(isinstance(row, list | tuple) for row in inner):
        raise ConfigError(f"network.{name}: expected a list with one entry a stage, got {rows!r:.200}")
    return rows


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
