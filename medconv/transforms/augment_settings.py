"""How often and how strongly training samples are changed: plain numbers, all reachable from YAML."""

from __future__ import annotations

from dataclasses import dataclass

from medconv.errors import ConfigError


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"expected a {name} between 0 and 1, got {value}")


@dataclass(frozen=True)
class Chance:
    """How often a change happens, and between which values its strength is drawn.

    Args:
        probability: For each sample, 0 to 1.
        low: Smallest strength.
        high: Largest strength.
        channel_probability: For each channel of a sample that was chosen, 0 to 1.

    Raises:
        ConfigError: A probability outside 0 to 1, or ``low`` above ``high``.
    """

    probability: float
    low: float
    high: float
    channel_probability: float = 1.0

    def __post_init__(self) -> None:
        for name in ("probability", "channel_probability"):
            _check_probability(name, getattr(self, name))
        if not self.low <= self.high:
            raise ConfigError(f"expected low <= high, got low {self.low} and high {self.high}; swap them")


@dataclass(frozen=True)
class AugmentSettings:
    """Augmentation as numbers; the defaults are nnU-Net's recipe.

    Args:
        strength: Multiplies every probability (capped at 1): 0 switches all changes off, 1 is nnU-Net's.
        rotation: Probability of a rotation.
        rotation_deg: Largest angle each way; ``None`` leaves it to the patch: 30° about each axis in 3-D,
            180° in 2-D (15° for a patch longer than 1.5 times its width), and where one axis is more than 3
            times coarser than the finest, 180° about that axis only.
        scale: Size of the sampled field of view, the same along all axes: above 1 makes structures smaller.
        elastic_vox: Smooth deformation, off unless its probability is set: standard deviation of the displacement
            along each axis, in voxels. Above a sixth of ``elastic_grid_vox`` tissue begins to fold.
        elastic_grid_vox: Distance of the points that are moved; between them the displacement is a cubic spline.
        mirror: Probability of a flip, for each axis by itself.
        mirror_axes: Spatial axes that may be flipped, 0 is the first; ``None``: all of them, in a data module
            without the left–right axis where labels name sides (``medconv.planning.mirror_axes``).
        noise_std: Standard deviation of added Gaussian noise, in units of the normalised image.
        blur_sigma_vox: Width of a Gaussian blur, in voxels.
        brightness: Factor on the intensities, half of the draws below 1 and half above.
        contrast: Factor on the distance from the mean; the range of values is kept.
        resolution: Zoom to which the image is reduced (nearest) and brought back (linear).
        gamma_inverted: Exponent applied to the inverted image; mean and standard deviation are kept.
        gamma: Exponent applied to the image scaled to 0–1; mean and standard deviation are kept.

    Raises:
        ConfigError: A number outside its range.

    Example:
        >>> AugmentSettings(strength=0.5, rotation=0.4).chance_of(0.4)
        0.2
    """

    strength: float = 1.0
    rotation: float = 0.2
    rotation_deg: float | None = None
    scale: Chance = Chance(0.2, 0.7, 1.4)
    elastic_vox: Chance = Chance(0.0, 0.5, 2.0)
    elastic_grid_vox: float = 16.0
    mirror: float = 0.5
    mirror_axes: tuple[int, ...] | None = None
    noise_std: Chance = Chance(0.1, 0.0, 0.1)
    blur_sigma_vox: Chance = Chance(0.2, 0.5, 1.0, channel_probability=0.5)
    brightness: Chance = Chance(0.15, 0.75, 1.25)
    contrast: Chance = Chance(0.15, 0.75, 1.25)
    resolution: Chance = Chance(0.25, 0.5, 1.0, channel_probability=0.5)
    gamma_inverted: Chance = Chance(0.1, 0.7, 1.5)
    gamma: Chance = Chance(0.3, 0.7, 1.5)

    def __post_init__(self) -> None:
        _check_probability("rotation", self.rotation)
        _check_probability("mirror", self.mirror)
        if self.strength < 0:
            raise ConfigError(f"expected strength >= 0, got {self.strength}; 0 switches augmentation off")
        for name in ("scale", "blur_sigma_vox", "resolution", "gamma", "gamma_inverted"):
            if getattr(self, name).low <= 0:
                raise ConfigError(f"expected {name}.low > 0, got {getattr(self, name).low}")
        if self.elastic_vox.low < 0 or self.elastic_grid_vox < 2:
            raise ConfigError(
                f"expected elastic_vox.low >= 0 and elastic_grid_vox >= 2, got {self.elastic_vox.low} "
                f"and {self.elastic_grid_vox}"
            )
        if self.resolution.high > 1:
            raise ConfigError(f"expected resolution.high <= 1, got {self.resolution.high}")

    def chance_of(self, probability: float) -> float:
        """The probability after ``strength`` is applied."""
        return min(1.0, self.strength * probability)


NNUNET = AugmentSettings()
"""The recipe of nnU-Net, version 2."""
