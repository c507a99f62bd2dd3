"""What happens to volumes between the file and the network, and back.

``Preprocessor`` turns, scales and resamples whole volumes as the plan says and undoes it exactly; patches are
sampled by ``sample_patches`` and changed by ``Augment``, both by what is drawn from one key a sample.
"""

from medconv.transforms.augment import Augment
from medconv.transforms.augment_settings import NNUNET, AugmentSettings, Chance
from medconv.transforms.crop import draw_start, find_locations
from medconv.transforms.instance_fields import instance_fields
from medconv.transforms.instance_labels import instance_labels
from medconv.transforms.keyed_random import sample_key
from medconv.transforms.patch_sampling import PackedVolumes, sample_patches
from medconv.transforms.preprocess import Preprocessor
from medconv.transforms.record import Record
from medconv.transforms.resample import Rows, rows_at_once

__all__ = [
    "NNUNET",
    "Augment",
    "AugmentSettings",
    "Chance",
    "PackedVolumes",
    "Preprocessor",
    "Record",
    "Rows",
    "draw_start",
    "find_locations",
    "instance_fields",
    "instance_labels",
    "rows_at_once",
    "sample_key",
    "sample_patches",
]
