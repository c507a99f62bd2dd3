"""Export: a trained network for other tools, and the proof that it answers as before.

``export_checkpoint`` writes a ``torch.export`` program, ONNX, a MONAI bundle or safetensors, compares each with the
network that was trained, and adds a model card; ``load_exported`` takes safetensors back.
"""

from medconv.export.card import Statement
from medconv.export.export_checkpoint import TARGETS, Exported, export_checkpoint
from medconv.export.parity import Parity
from medconv.export.weights import load_exported, read_weights

__all__ = ["TARGETS", "Exported", "Parity", "Statement", "export_checkpoint", "load_exported", "read_weights"]
