"""What a network is taught about single objects: a small label map made from a map of numbered ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError
from medconv.planning.bounds import check_integer, check_name, check_number

Kind = Literal["distance", "boundary"]

_KINDS = ("distance", "boundary")
_LEVELS = 5
_MOST_LEVELS = 32
_WIDTH = 2.0
_MOST_WIDTH = 64.0


@dataclass(frozen=True)
class InstanceTarget:
    """How objects, numbered in the files, become labels that a network can learn.

    ``"distance"``: label ``k`` is the ``k``-th shell of an object, from its rim to its middle, cut where the distance
    to its rim passes ``1/L, 2/L …`` of the object's largest. The network answers for nested regions, label 1 and
    more, 2 and more, …: the first is the foreground, and the mean of all is the relative distance, learned as an
    ordinal regression. Relative, not in pixels, because it stays true while patches are turned and zoomed, every
    object reaches the top whatever its size, and no unit is needed.

    ``"boundary"``: three labels that exclude each other: background, inside, and a rim of fixed width.

    Args:
        kind: See above.
        levels: Shells ``L`` of ``"distance"``; ``None``: 5.
        width_vox: Of the rim of ``"boundary"``, in edges of the finest voxel; ``None``: 2.
        name: What the objects are.

    Raises:
        ConfigError: A value out of bounds, or one that belongs to the other kind.

    Example:
        >>> target = InstanceTarget(levels=3, name="nucleus")
        >>> target.regions
        {'nucleus': (1, 2, 3), 'nucleus from shell 2': (2, 3), 'nucleus from shell 3': (3,)}
        >>> InstanceTarget("boundary", name="cell").label_names
        {0: 'background', 1: 'cell inside', 2: 'cell rim'}

    Source: ordinal regression by nested sigmoids: Frank and Hall, ECML 2001; distances as the target of
        cells: Naylor et al., TMI 2019; boundary as a third class: Caicedo et al., Cytometry A 2019.
    """

    kind: Kind = "distance"
    levels: int | None = None
    width_vox: float | None = None
    name: str = "object"

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            hint = did_you_mean(str(self.kind), _KINDS)
            raise ConfigError(f"instances.kind: no {self.kind!r}{hint}. All: {', '.join(_KINDS)}")
        own, other = ("levels", "width_vox") if self.kind == "distance" else ("width_vox", "levels")
        if getattr(self, other) is not None:
            raise ConfigError(f"instances.{other}: has no meaning for {self.kind!r}; leave it out")
        if getattr(self, own) is None:
            object.__setattr__(self, own, _LEVELS if own == "levels" else _WIDTH)
        if self.kind == "distance":
            check_integer("instances.levels", self.levels, 2, _MOST_LEVELS)
        else:
            width = check_number("instances.width_vox", self.width_vox, 1, _MOST_WIDTH)
            object.__setattr__(self, "width_vox", width)
        check_name("instances.name", self.name)

    @property
    def num_labels(self) -> int:
        """Values in the label map, background included."""
        return len(self.label_names)

    @property
    def label_names(self) -> dict[int, str]:
        """Of the label map that the network is taught."""
        if self.kind == "boundary":
            return {0: "background", 1: f"{self.name} inside", 2: f"{self.name} rim"}
        return {0: "background", **{k: f"{self.name} shell {k}" for k in self._shells}}

    @property
    def regions(self) -> dict[str, tuple[int, ...]]:
        """Nested regions that the network answers for; none of ``"boundary"``."""
        if self.kind == "boundary":
            return {}
        return {
            self.name if k == 1 else f"{self.name} from shell {k}": tuple(self._shells[k - 1 :])
            for k in self._shells
        }

    def plan_values(self) -> dict[str, Any]:
        """All arguments of ``Plan`` that speak of labels.

        Example:
            >>> sorted(InstanceTarget().plan_values())
            ['instances', 'label_names', 'regions', 'regions_class_order']
        """
        return {
            "label_names": self.label_names,
            "regions": self.regions,
            "regions_class_order": tuple(self._shells) if self.kind == "distance" else (),
            "instances": self,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without those of the other kind."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Any) -> InstanceTarget:
        """The inverse of :meth:`to_dict`; every value is checked, nothing is ignored.

        Raises:
            ConfigError: No mapping, an unknown key, or a value out of bounds.
        """
        names = [entry.name for entry in fields(cls)]
        if not isinstance(values, Mapping):
            raise ConfigError(f"instances: expected {', '.join(names)}, got {values!r:.80}")
        for key in values:
            if key not in names:
                raise ConfigError(
                    f"instances: unknown key {key!r}{did_you_mean(str(key), names)}. All: {', '.join(names)}"
                )
        return cls(**values)

    @property
    def _shells(self) -> range:
        assert self.levels is not None
        return range(1, self.levels + 1)
