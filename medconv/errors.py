"""Every error that medconv raises on purpose: what was expected, what came, what to do now."""

from __future__ import annotations

from collections.abc import Mapping


class MedconvError(Exception):
    """Base of all errors raised on purpose; a command prints its text without a traceback."""


class ShapeError(MedconvError, ValueError):
    """A tensor has another rank, channel count or size than the layer was built for."""


class ConfigError(MedconvError, ValueError):
    """A configuration or an argument asks for something that cannot be built."""


class UnknownNameError(ConfigError):
    """A name is in no catalogue; the text offers the nearest ones."""


class GeometryError(MedconvError, ValueError):
    """An affine, spacing or grid is unusable, or two grids that must agree do not."""


class BadImageError(MedconvError, ValueError):
    """A file cannot be used as an image or label volume; the text names the file and the remedy."""


class VoxelValueError(BadImageError):
    """A file is whole, but its voxels have values that an image or a label map cannot have."""


class DatasetError(MedconvError, ValueError):
    """A dataset is incomplete or contradicts itself; the text lists every problem found."""


class NotADatasetError(ConfigError, DatasetError):
    """What was named as a dataset does not exist or is something else: the argument is wrong, not a dataset."""


class BadCasesError(DatasetError):
    """Some cases of a dataset cannot be used; ``problems`` says why, by case id."""

    def __init__(self, text: str, problems: Mapping[str, str]) -> None:
        super().__init__(text)
        self.problems = dict(problems)


class DownloadError(MedconvError):
    """A file could not be fetched, or is not the one that was expected; what came so far is kept where that helps."""


class ArchiveError(MedconvError, ValueError):
    """An archive is damaged, or would write where it must not; nothing of it is left behind."""


class CheckpointError(MedconvError, ValueError):
    """A checkpoint is damaged, foreign, unsafe, or of a version that cannot be read."""
