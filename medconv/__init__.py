"""medconv: medical segmentation with any convolution you like, and the proof whether it helped.

The house, from the roof down; a room imports only strictly lower storeys::

    9  cli                                   commands
    8  export | reporting                    pictures and tables
    7  training                              SegmentationTask, the one door build_task
    6  inference | datamodules | evaluation  Predictor; NIfTI and demo data; masks against references
    5  models    | transforms   ┐ left tower: tensors only
    4  blocks    | planning     │ right tower: files and geometry
    3  attention | io           │ the towers never import each other
    2  ops | losses | metrics   ┘
    1  kernels, ndim, catalogue   0  types, errors

Importing this package loads neither torch nor lightning; the names below are fetched at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "UNet": "medconv.models",
    "describe": "medconv.models",
    "fold": "medconv.models",
    "Predictor": "medconv.inference",
    "load": "medconv.inference",
    "check_conv": "medconv.ops",
    "view": "medconv.reporting",
}

__all__ = ["Predictor", "UNet", "__version__", "check_conv", "describe", "fold", "load", "view"]

if TYPE_CHECKING:
    from medconv.inference import Predictor, load
    from medconv.models import UNet, describe, fold
    from medconv.ops import check_conv
    from medconv.reporting import view


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medconv' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
