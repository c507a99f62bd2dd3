"""The network as an ONNX file, and ONNX Runtime to check it; both packages are an extra."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from medconv.errors import ConfigError

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

OPSET = 20
_ONE_FILE_BYTES = 1_900_000_000
"""A protobuf, which an ONNX file is, holds less than 2 GiB."""


def require_onnx() -> None:
    """Refuse before any work where the packages of the extra are absent.

    Raises:
        ConfigError: With what to install.
    """
    absent = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    absent += ["onnxruntime"] if onnxruntime is None else []
    if absent:
        raise ConfigError(
            f"ONNX needs the package(s) {', '.join(absent)}; install them with: pip install 'medconv[export]'"
        )


def write_onnx(program: ExportedProgram, path: Path, notes: Mapping[str, str]) -> None:
    """Write a traced network as ONNX, input ``image``, output ``logits``.

    Args:
        program: From ``build_program``; what is free there is free here.
        path: Ends in ``.onnx``.
        notes: Written into the model's metadata.

    Raises:
        ConfigError: An operation that ONNX does not have; with its name.
    """
    # it tells at each start that torchvision, which nothing here needs, is absent
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    weights_bytes = sum(tensor.nbytes for tensor in program.state_dict.values())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=OPSET,
                input_names=["image"],
                output_names=["logits"],
                verbose=False,
            )
    except Exception as error:  # the exporter's own kinds, many
        raise ConfigError(
            f"ONNX (opset {OPSET}) cannot express this network ({_innermost(error):.300}); "
            "export it with --to torch, bundle or safetensors"
        ) from error
    assert model is not None
    model.model.metadata_props.update(notes)
    model.save(path, external_data=weights_bytes > _ONE_FILE_BYTES)


def read_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """The function in an ONNX file, run by ONNX Runtime on the CPU."""
    assert onnxruntime is not None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(patches: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"image": patches.numpy()})
        return torch.from_numpy(logits)

    return run


def _innermost(error: BaseException) -> str:
    """What the exporter wraps: the first line of the first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
