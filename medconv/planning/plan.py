"""The plan: everything that must be equal when a network is trained and when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import yaml

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, MedconvError
from medconv.io.atomic import write_text
from medconv.io.declared_labels import DeclaredLabels
from medconv.io.geometry import NATIVE, check_orientation
from medconv.ndim import check_spatial_dims
from medconv.planning.bounds import (
    MAX_CHANNELS,
    MAX_PATCH_EDGE,
    MAX_PATCH_VOXELS,
    MAX_SPACING_MM,
    MIN_SPACING_MM,
    check_count,
    check_integer,
    check_name,
    check_number,
    check_product,
)
from medconv.planning.instance_target import InstanceTarget
from medconv.planning.intensity import Intensity
from medconv.planning.plan_values import check_label_names, check_regions, integer_keys, to_tuple
from medconv.types import LengthUnit

NORMALIZATIONS = ("zscore", "percentile", "range", "ct", "none")
"""How a channel's intensities are scaled; see ``medconv.transforms.normalize``."""


_LISTS = ("channel_names", "spacing_mm", "patch_size", "normalization", "intensity", "regions_class_order")
_SWITCHES = ("crop_to_nonzero", "masked_normalization")
_OPTIONAL = ("regions", "regions_class_order", "ignore_label", "instances", "unit", *_SWITCHES)
_UNUSED: tuple[Any, ...] = ((), {}, None, "mm", False)


@dataclass(frozen=True)
class Plan:
    """How volumes are prepared, and what the classes are.

    Args:
        spatial_dims: 3 for volumes, 2 for single slices.
        channel_names: One an input channel, in order.
        label_names: Label value to name, 0 (background) to K - 1 without gaps.
        spacing_mm: Voxel edge lengths the network works at, axes in the order of ``orientation``.
        patch_size: Voxels of a training patch along each axis.
        normalization: One of ``"zscore"``, ``"percentile"``, ``"range"``, ``"ct"``, ``"none"`` a channel.
        orientation: Directions of the axes the network works in, such as ``"RAS"``; ``"native"`` leaves axes
            as they are stored, the only choice in 2-D.
        intensity: One entry a channel; what ``"ct"`` needs, ``None`` for all others.
        regions: See ``medconv.io.DeclaredLabels``: the network has one output a region, if there are any.
        regions_class_order: See ``medconv.io.DeclaredLabels``.
        ignore_label: See ``medconv.io.DeclaredLabels``; in prepared label maps it is ``unknown_label``.
        unit: What ``spacing_mm`` is in: ``"px"`` where nobody says how large the pixels of the images are.
        instances: How the objects that the files number become the labels above; ``None``: the files hold labels.
        crop_to_nonzero: Whether volumes are cropped to their voxels that are not 0 in every channel.
        masked_normalization: Whether normalisations by a volume's own values look at these voxels, and those that they
            enclose, alone, and leave 0 around them.

    Raises:
        ConfigError: A value outside its bounds; the text names the field.

    Example:
        >>> names = {0: "background", 1: "tumour"}
        >>> plan = Plan(3, ("T1",), names, (1.0, 1.0, 1.0), (64, 64, 64), ("zscore",))
        >>> plan.num_classes, Plan.from_yaml(plan.to_yaml()) == plan
        (2, True)
    """

    spatial_dims: int
    channel_names: tuple[str, ...]
    label_names: dict[int, str] = field(hash=False)
    spacing_mm: tuple[float, ...]
    patch_size: tuple[int, ...]
    normalization: tuple[str, ...]
    orientation: str = "RAS"
    intensity: tuple[Intensity | None, ...] = ()
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    regions_class_order: tuple[int, ...] = ()
    ignore_label: int | None = None
    instances: InstanceTarget | None = None
    unit: LengthUnit = "mm"
    crop_to_nonzero: bool = False
    masked_normalization: bool = False

    def __post_init__(self) -> None:
        check_spatial_dims(check_integer("spatial_dims", self.spatial_dims, 2, 3))
        for name in _LISTS:
            object.__setattr__(self, name, to_tuple(name, getattr(self, name)))
        if not self.intensity:
            object.__setattr__(self, "intensity", (None,) * len(self.channel_names))
        object.__setattr__(self, "label_names", check_label_names(self.label_names))
        object.__setattr__(self, "regions", check_regions(self.regions))
        DeclaredLabels(self.label_names, self.regions, self.regions_class_order, self.ignore_label)
        self._check_instances()
        self._check_channels()
        self._check_switches()
        self._check_grid()

    @property
    def num_classes(self) -> int:
        """``K``, outputs of the network: the labels with the background, or the regions."""
        return len(self.regions) or self.num_labels

    @property
    def num_labels(self) -> int:
        """Values in label maps, background included."""
        return len(self.label_names)

    @property
    def declared(self) -> DeclaredLabels:
        """What the files of the dataset hold: numbered objects of one kind, or the labels of the plan."""
        if self.instances is not None:
            return DeclaredLabels({0: "background", 1: self.instances.name}, instances=True)
        return DeclaredLabels(self.label_names, self.regions, self.regions_class_order, self.ignore_label)

    @property
    def unknown_label(self) -> int | None:
        """What the ignore label is in prepared label maps: the value after the last label."""
        return None if self.ignore_label is None else self.num_labels

    @property
    def structure_names(self) -> tuple[str, ...]:
        """Names of labels and regions."""
        return (*self.label_names.values(), *self.regions)

    @property
    def in_channels(self) -> int:
        """``C`` of the images."""
        return len(self.channel_names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: numbers, text, lists and dictionaries."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["intensity"] = [entry.to_dict() if entry else None for entry in self.intensity]
        values["label_names"] = dict(self.label_names)
        values["regions"] = {name: list(members) for name, members in self.regions.items()}
        values["instances"] = None if self.instances is None else self.instances.to_dict()
        # what a plan does not use it does not mention: older ones read on, and prepared cases stay valid
        for name in _OPTIONAL:
            if values[name] in _UNUSED:
                del values[name]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Any) -> Plan:
        """The inverse of :meth:`to_dict`; every value is checked, nothing is ignored.

        Raises:
            ConfigError: An unknown key (with the nearest known one), a missing key, or a value out of bounds.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"plan: expected a mapping, got {type(values).__name__}")
        names = [f.name for f in fields(cls)]
        for key in values:
            if key not in names:
                raise ConfigError(
                    f"plan: unknown key {key!r}{did_you_mean(str(key), names)}. All: {', '.join(names)}"
                )
        missing = [name for name in names if name not in (*values, "orientation", "intensity", *_OPTIONAL)]
        if missing:
            raise ConfigError(f"plan: expected all of {', '.join(names)}; missing: {', '.join(missing)}")
        given = dict(values)
        given["label_names"] = integer_keys(given["label_names"])
        if given.get("instances") is not None:
            given["instances"] = InstanceTarget.from_dict(given["instances"])
        if "intensity" in given:
            entries = to_tuple("intensity", given["intensity"])
            given["intensity"] = tuple(e if e is None else Intensity.from_dict(e) for e in entries)
        return cls(**given)

    def to_yaml(self) -> str:
        """The plan as YAML text."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, allow_unicode=True)

    @classmethod
    def from_yaml(cls, text: str) -> Plan:
        """The inverse of :meth:`to_yaml`.

        Raises:
            ConfigError: Not YAML, or as :meth:`from_dict`.
        """
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"plan: not valid YAML ({error}); correct the line named") from error
        return cls.from_dict(values)

    def save(self, path: str | Path) -> None:
        """Write the plan to a YAML file, whole or not at all."""
        write_text(path, self.to_yaml())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan from a YAML file.

        Raises:
            ConfigError: The file cannot be read, or as :meth:`from_yaml`; the text names the file.
        """
        try:
            return cls.from_yaml(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, MedconvError) as error:
            raise ConfigError(f"{path}: {error}") from error

    def _check_instances(self) -> None:
        for name, expected in self.instances.plan_values().items() if self.instances else ():
            if getattr(self, name) != expected:
                raise ConfigError(
                    f"{name}: expected {expected} for instances, got {getattr(self, name)}; make such a plan with "
                    "Plan(**target.plan_values(), …)"
                )
        if self.instances and self.ignore_label is not None:
            raise ConfigError(
                f"ignore_label: expected none for instances, got {self.ignore_label}; maps of numbered objects "
                "have no value for voxels that nobody labelled"
            )

    def _check_channels(self) -> None:
        channels = check_count("channel_names", self.channel_names, 1, MAX_CHANNELS)
        for name in self.channel_names:
            check_name("channel_names", name)
        check_count("normalization", self.normalization, channels, channels)
        check_count("intensity", self.intensity, channels, channels)
        for kind, intensity in zip(self.normalization, self.intensity, strict=True):
            if kind not in NORMALIZATIONS:
                hint = did_you_mean(str(kind), NORMALIZATIONS)
                raise ConfigError(f"normalization: no {kind!r}{hint}. All: {', '.join(NORMALIZATIONS)}")
            if (kind == "ct") != isinstance(intensity, Intensity):
                raise ConfigError(
                    f"intensity: expected low, high, mean and std for each 'ct' channel and nothing for "
                    f"others, got "
                    f"{intensity} for {kind!r}"
                )

    def _check_switches(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}: expected true or false, got {getattr(self, name)!r}")
        if self.masked_normalization and not self.crop_to_nonzero:
            raise ConfigError("masked_normalization: expected crop_to_nonzero with it; set both, or neither")

    def _check_grid(self) -> None:
        dims = self.spatial_dims
        if self.unit not in get_args(LengthUnit):
            raise ConfigError(f"unit: expected {' or '.join(get_args(LengthUnit))}, got {self.unit!r}")
        check_count("spacing_mm", self.spacing_mm, dims, dims)
        check_count("patch_size", self.patch_size, dims, dims)
        spacing = [check_number("spacing_mm", mm, MIN_SPACING_MM, MAX_SPACING_MM) for mm in self.spacing_mm]
        object.__setattr__(self, "spacing_mm", tuple(spacing))
        for size in self.patch_size:
            check_integer("patch_size", size, 1, MAX_PATCH_EDGE)
        check_product("patch_size", self.patch_size, MAX_PATCH_VOXELS)
        if not isinstance(self.orientation, str) or (dims == 2 and self.orientation != NATIVE):
            raise ConfigError(
                f"orientation: expected {NATIVE!r} in 2-D or letters like 'RAS' in 3-D, "
                f"got {self.orientation!r}"
            )
        if self.orientation != NATIVE:
            try:
                check_orientation(self.orientation)
            except MedconvError as error:
                raise ConfigError(f"orientation: {error}") from error
