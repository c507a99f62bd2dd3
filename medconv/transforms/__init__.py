"""What happens to volumes between the file and the network, and back.

``Preprocessor`` turns, scales and resamples whole volumes as the plan says and undoes it exactly; patches are
cut by ``draw_patch`` and changed by ``Augment``, both functions of one key a sample.
"""

from medconv.transforms.augment import Augment
from medconv.transforms.augment_settings import NNUNET, AugmentSettings, Chance
from medconv.transforms.crop import draw_patch, find_locations
from medconv.transforms.keyed_random import sample_key
from medconv.transforms.preprocess import Preprocessor, Record

__all__ = [
    "NNUNET",
    "Augment",
    "AugmentSettings",
    "Chance",
    "Preprocessor",
    "Record",
    "draw_patch",
    "find_locations",
    "sample_key",
]
