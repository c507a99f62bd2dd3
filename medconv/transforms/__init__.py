"""What happens to volumes between the file and the network, and back.

``Preprocessor`` turns, scales and resamples whole volumes as the plan says and undoes it exactly; patches are
cut and augmented afterwards.
"""

from medconv.transforms.preprocess import Preprocessor, Record

__all__ = ["Preprocessor", "Record"]
