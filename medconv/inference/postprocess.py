"""What is done after the network: small islands go, the largest component stays, holes close, objects part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
import yaml

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError
from medconv.inference.separation import Separation
from medconv.io.atomic import write_text
from medconv.planning import Plan

Labels = npt.NDArray[np.unsignedinteger[Any]]
_MAX_VOLUME_ML = 1e6


@dataclass(frozen=True)
class Rule:
    """What is done to one class.

    Args:
        largest_component: Keep only the largest component; voxels that touch by a corner belong together.
        fill_holes: Give background that the class encloses to the class; it encloses what no path by faces
            leads out of.
        min_volume_ml: Remove components below this volume.

    Raises:
        ConfigError: A value of another kind or out of its range.
    """

    largest_component: bool = False
    fill_holes: bool = False
    min_volume_ml: float = 0.0

    def __post_init__(self) -> None:
        for name in ("largest_component", "fill_holes"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}: expected true or false, got {getattr(self, name)!r}")
        volume = self.min_volume_ml
        if (
            isinstance(volume, bool)
            or not isinstance(volume, int | float)
            or not 0 <= volume <= _MAX_VOLUME_ML
        ):
            raise ConfigError(
                f"min_volume_ml: expected a number from 0 to {_MAX_VOLUME_ML:g}, got {volume!r}"
            )

    @property
    def is_idle(self) -> bool:
        """Whether it changes nothing."""
        return self == Rule()


@dataclass(frozen=True)
class Postprocessing:
    """One rule a class; classes without a rule stay as they are.

    First every class loses what its rule removes, which becomes background; then holes are closed, in the order of
    the labels.

    Args:
        rules: By label, 1 the first class that is not background.
        separation: How single objects are told apart, where the network was taught objects; ``None``: as usual.

    Raises:
        ConfigError: A rule for the background, or rules for classes beside thresholds for objects.

    Example:
        >>> labels = np.array([[1, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=np.uint8)
        >>> Postprocessing({1: Rule(min_volume_ml=0.003)}).apply(labels, (1.0, 1.0))
        array([[0, 0, 1, 1],
               [0, 0, 1, 1],
               [0, 0, 0, 0]], dtype=uint8)
    """

    rules: Mapping[int, Rule] = field(default_factory=dict)
    separation: Separation | None = None

    def __post_init__(self) -> None:
        for label in self.rules:
            if isinstance(label, bool) or not isinstance(label, int) or label < 1:
                raise ConfigError(f"postprocessing: expected labels from 1, got {label!r}")
        if self.rules and self.separation is not None:
            raise ConfigError(
                f"postprocessing: expected rules by label or thresholds of instances, got both ({sorted(self.rules)}, "
                f"{self.separation}); a network knows labels or objects"
            )

    def require_fit(self, plan: Plan) -> None:
        """Refuse rules that a network has no use for.

        Raises:
            ConfigError: A rule for a label that it does not know, or thresholds of objects where it knows labels.
        """
        if plan.instances is not None and self.rules:
            raise ConfigError(
                f"postprocessing: expected thresholds of instances, because the network tells objects apart, got rules "
                f"for the labels {sorted(self.rules)}; medconv tune-postprocessing with this checkpoint finds them"
            )
        if plan.instances is None and self.separation is not None:
            raise ConfigError(
                f"postprocessing: expected rules for the labels {plan.label_names}, because the network tells no "
                "objects apart, got thresholds of instances"
            )
        if unknown := sorted(set(self.rules) - set(plan.label_names)):
            raise ConfigError(f"postprocessing: expected labels of {plan.label_names}, got {unknown}")

    def apply(self, labels: Labels, spacing_mm: Sequence[float]) -> Labels:
        """The labels after all rules; the array given is not changed.

        Args:
            labels: ``(*S)``, any unsigned integer type.
            spacing_mm: Edge lengths of a voxel; a slice without a third is taken as 1 mm thick.

        Cost:
            A labelling of components in the box of each class that has a rule.
        """
        active = {label: rule for label, rule in sorted(self.rules.items()) if not rule.is_idle}
        if not active:
            return labels
        result = labels.copy()
        # in a volume of one slice every hole would be open to the third axis
        flat = result.reshape([size for size in labels.shape if size > 1] or [1])
        boxes = scipy.ndimage.find_objects(flat, max_label=max(active))
        for label, rule in active.items():
            if (box := boxes[label - 1]) is not None:
                part = flat[box]
                part[remove_components(part == label, rule, spacing_mm)] = 0
        for label, rule in active.items():
            if rule.fill_holes and (box := boxes[label - 1]) is not None:
                part = flat[box]
                part[scipy.ndimage.binary_fill_holes(part == label) & (part == 0)] = label
        return result

    def to_yaml(self, label_names: Mapping[int, str] | None = None) -> str:
        """As text, with the names of the labels beside their numbers."""
        if self.separation is not None:
            return yaml.safe_dump({"instances": self.separation.to_dict()}, sort_keys=False)
        rules = {label: {k: v for k, v in asdict(rule).items() if v} for label, rule in self.rules.items()}
        text = yaml.safe_dump({"postprocessing": rules}, sort_keys=True)
        for label, name in (label_names or {}).items():
            text = text.replace(f"  {label}:", f"  # {' '.join(name.split())}\n  {label}:", 1)
        return text

    @classmethod
    def from_yaml(cls, text: str, num_classes: int | None = None) -> Postprocessing:
        """The inverse of :meth:`to_yaml`; every value is checked, nothing is ignored.

        Args:
            text: ``postprocessing: {1: {largest_component: true, min_volume_ml: 0.5}}``, or
                ``instances: {mask_threshold: 0.5, seed_threshold: 0.4, min_voxels: 20}``.
            num_classes: ``K`` of the network; labels from there on are refused.

        Raises:
            ConfigError: Not such a text; it says where and what was expected.
        """
        try:
            content = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"postprocessing: not valid YAML ({error}); correct the line named") from error
        if isinstance(content, Mapping) and set(content) == {"instances"}:
            return cls(separation=Separation.from_dict(content["instances"]))
        if not isinstance(content, Mapping) or set(content) != {"postprocessing"}:
            raise ConfigError(
                f"postprocessing: expected one key, 'postprocessing' or 'instances', got {str(content)[:80]!r}"
            )
        rules = content["postprocessing"] or {}
        if not isinstance(rules, Mapping):
            raise ConfigError(f"postprocessing: expected rules by label, got {str(rules)[:80]!r}")
        found = cls({label: _rule(label, values) for label, values in rules.items()})
        if num_classes is not None and (unknown := [n for n in found.rules if n >= num_classes]):
            raise ConfigError(
                f"postprocessing: expected labels from 1 to {num_classes - 1}, the network's, got {unknown}"
            )
        return found

    def save(self, path: str | Path, label_names: Mapping[int, str] | None = None) -> None:
        """Write it to a YAML file, whole or not at all."""
        write_text(path, self.to_yaml(label_names))

    @classmethod
    def load(cls, path: str | Path, num_classes: int | None = None) -> Postprocessing:
        """Read it from a YAML file.

        Raises:
            ConfigError: The file cannot be read, or as :meth:`from_yaml`; the text names the file.
        """
        try:
            return cls.from_yaml(Path(path).read_text(encoding="utf-8"), num_classes)
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{path}: expected rules of medconv tune-postprocessing, got no text; name the YAML file"
            ) from error
        except (OSError, ConfigError) as error:
            raise ConfigError(f"{path}: {error}") from error


def remove_components(
    mask: npt.NDArray[np.bool_], rule: Rule, spacing_mm: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """The voxels of a mask that its rule removes.

    Args:
        mask: Of one class.
        rule: Of that class.
        spacing_mm: Edge lengths of a voxel.
    """
    if not rule.largest_component and not rule.min_volume_ml:
        return np.zeros_like(mask)
    components, count = scipy.ndimage.label(mask, np.ones((3,) * mask.ndim))
    voxels = np.bincount(components.ravel(), minlength=count + 1)
    voxels[0] = 0
    keep = voxels * prod(spacing_mm) / 1000 >= rule.min_volume_ml
    if rule.largest_component and count:
        keep &= np.arange(count + 1) == voxels.argmax()
    keep[0] = True
    return ~keep[components]


def _rule(label: Any, values: Any) -> Rule:
    names = [f.name for f in fields(Rule)]
    if not isinstance(values, Mapping):
        raise ConfigError(f"postprocessing, label {label}: expected {', '.join(names)}, got {values!r}")
    for key in values:
        if key not in names:
            raise ConfigError(
                f"postprocessing, label {label}: no {key!r}{did_you_mean(str(key), names)}. All: {', '.join(names)}"
            )
    try:
        return Rule(**values)
    except ConfigError as error:
        raise ConfigError(f"postprocessing, label {label}: {error}") from error
